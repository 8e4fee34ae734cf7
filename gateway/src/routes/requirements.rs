//! The packages of a function that is being registered.

use belljar_core::guest::GuestModules;
use belljar_core::requirements::{PackageLock, Requirement};
use belljar_core::task::{Runtime, TaskClass};

use crate::app::App;
use crate::caller::Caller;
use crate::error::ApiError;
use crate::problem::Problem;
use crate::requirements::ResolveError;
use crate::share::LARGE;

/// Chooses the packages that a function of this class gets; `None` where all of them are part of the sandbox.
pub(super) async fn choose(
    app: &App,
    caller: &Caller,
    class: TaskClass,
    requirements: &[Requirement],
    guest: Option<&GuestModules>,
) -> Result<Option<Box<PackageLock>>, ApiError> {
    let problem = |kind, why| ApiError::invalid(Problem::body(kind, "requirements", why));
    let Some(resolver) = &app.config.resolver else {
        let why = "packages are not offered here: the operator starts the service with `--requirements URL`";
        return Err(problem("requirements_not_offered", why.to_owned()));
    };
    // One at a time for each tenant, where there are several.
    let _turn = caller.turn(LARGE).await;
    let none = std::collections::BTreeMap::new();
    let provided = guest.map_or(&none, |guest| &guest.added);
    let provided = (class.runtime == Runtime::Sandbox).then_some(provided);
    match resolver.resolve(requirements, class.python, provided).await {
        Ok(lock) => Ok(Some(lock).filter(|lock| !lock.wheels().is_empty()).map(Box::new)),
        Err(ResolveError::Wrong(why)) => Err(problem("requirement_unavailable", why)),
        Err(error @ ResolveError::Failed(_)) => Err(ApiError::PackageIndex(error.to_string())),
    }
}
