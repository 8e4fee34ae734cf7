//! The description of the API for programs, collected from the declarations of the routes, of the bodies
//! and of the replies.

use belljar_core::api_key::Scope;
use utoipa::openapi::path::{Operation, PathItem, Paths, PathsBuilder};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{OpenApi, RefOr, Schema};
use utoipa::{IntoResponses as _, OpenApi as _};

use crate::error::{ErrorReply, InvalidReply};
use crate::guard::Access;
use crate::schema::{NeedsKey, PriorityName, RuntimeName, Status, WarmName};

/// What is said beside the routes.
#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "belljar",
        description = "A Function-as-a-Service for Python. Register a serialized function, submit \
            calls, read results; each call runs natively or in a sandbox by one field. Every path also \
            takes a trailing slash. Every error has the body `{detail, code}`, every answer the headers \
            `x-request-id` and `server-timing`. A field of a request that is not known is named in the \
            answer (`ignored`), or refused if it looks like a known one. `null` means the same as \
            leaving an optional field out."
    ),
    servers((url = "/")),
    tags(
        (name = "Classic", description = "The four routes that are all a client needs."),
        (name = "Tasks", description = "Many tasks at once, whole records, cancel, events."),
        (name = "Lists", description = "Tasks, functions and workers."),
        (name = "Operation", description = "For operators.")
    ),
    components(schemas(ErrorReply, InvalidReply, Status, RuntimeName, PriorityName, WarmName))
)]
struct Description;

/// The document of some routes: who may use each, its schemas and its paths.
pub(crate) fn document(
    routes: impl Iterator<Item = (Access, Vec<(String, RefOr<Schema>)>, Paths)>,
) -> OpenApi {
    let mut document = Description::openapi();
    let mut paths = PathsBuilder::new();
    let components = document.components.get_or_insert_default();
    components.security_schemes.insert(SCHEME.to_owned(), scheme());
    for (access, schemas, of_route) in routes {
        components.schemas.extend(schemas);
        for (path, mut item) in of_route.paths {
            if let Access::Key(scope) = access {
                [&mut item.get, &mut item.post, &mut item.put, &mut item.delete]
                    .into_iter()
                    .flatten()
                    .for_each(|it| secure(it, scope));
            }
            paths = paths.path(path, item);
        }
    }
    document.paths = paths.build();
    document
}

/// The name of the security scheme.
const SCHEME: &str = "key";

fn scheme() -> SecurityScheme {
    let about = "A key that `belljar key create` makes, `bj_...`, with the scope that an operation names. Needed \
        where the gateway requires keys: as soon as it listens beyond loopback.";
    let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some(about));
    SecurityScheme::Http(bearer.build())
}

/// Says that an operation wants a key, where keys are required.
fn secure(operation: &mut Operation, scope: Scope) {
    let key = SecurityRequirement::new(SCHEME, [scope.as_str()]);
    operation.security = Some(vec![key, SecurityRequirement::default()]);
    operation.responses.responses.extend(NeedsKey::responses());
}

/// The methods of a route.
pub(crate) fn methods(document: &OpenApi, route: &str) -> Vec<&'static str> {
    let item: Option<&PathItem> = document.paths.paths.get(route);
    let of = |item: &PathItem| {
        let of = [
            ("GET", &item.get),
            ("POST", &item.post),
            ("PUT", &item.put),
            ("DELETE", &item.delete),
        ];
        of.map(|(method, operation)| operation.as_ref().map(|_| method))
    };
    item.map(of).into_iter().flatten().flatten().collect()
}
