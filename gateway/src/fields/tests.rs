use super::*;
use crate::values::{Count, List, Text};

request_body! {
    /// A body.
    struct Sample<'de> {
        /// A name.
        required name: Text<'de, 8>,
        /// A payload.
        required payload: Text<'de, 100>,
        /// Where it runs.
        optional runtime: belljar_core::task::Runtime,
        /// A count.
        optional retries: Count<0>,
        /// Ids.
        optional ids: List<belljar_core::id::TaskId, 3>,
    }
}

fn problems(body: &[u8]) -> Vec<Problem> {
    match parse::<Sample<'_>>(BodyForm::Json, body) {
        Err(ApiError::Invalid(problems)) => problems,
        Err(error) => panic!("{error}"),
        Ok(_) => Vec::new(),
    }
}

#[test]
fn every_field_is_named() {
    let problems = problems(br#"{"payload": 1, "retries": -1, "ids": ["a", 2]}"#);
    let seen: Vec<_> = problems.iter().map(|problem| (problem.kind, problem.loc.clone())).collect();
    let place = |name| vec![Place::from("body"), Place::from(name)];
    let mut ids = place("ids");
    ids.push(Place::Index(0));
    assert_eq!(
        seen,
        [
            ("missing", place("name")),
            ("string_type", place("payload")),
            ("int_parsing", place("retries")),
            ("uuid_parsing", ids),
        ]
    );
}

#[test]
fn text_that_is_not_json_is_named_with_its_place() {
    for body in [&b"{"[..], b"{\"a\": NaN}", b"{\"name\": \"\xff\"}", &[b'['; 100_000]] {
        assert_eq!(problems(body).first().map(|problem| problem.kind), Some("json_invalid"));
    }
    assert_eq!(problems(b"  ").first().map(|problem| problem.kind), Some("missing"));
    let list = problems(b"[\"a\", \"b\"]");
    assert_eq!(list.first().map(|problem| problem.kind), Some("model_attributes_type"));
    let twice = problems(br#"{"name": "a", "name": "b", "payload": ""}"#);
    assert_eq!(twice.first().map(|problem| problem.kind), Some("value_error"));
}

#[test]
fn message_pack_is_read_by_the_same_declaration() {
    let bytes = |body: &serde_json::Value| rmp_serde::to_vec_named(body).expect("a value");
    let parse = |body: &[u8]| match parse::<Sample<'_>>(BodyForm::MessagePack, body) {
        Ok(body) => Ok((body.name.0.into_owned(), body.retries.map(|it| it.0), body.ignored)),
        Err(ApiError::Invalid(problems)) => Err(problems),
        Err(error) => panic!("{error}"),
    };
    let whole = serde_json::json!({"name": "a", "payload": "b", "retries": 3, "x": [1, {}]});
    let read = parse(&bytes(&whole));
    assert_eq!(read, Ok(("a".to_owned(), Some(3), vec!["x".to_owned()])));
    let wrong = serde_json::json!({"name": 1, "retries": -1, "runtim": "sandbox"});
    let kinds = parse(&bytes(&wrong)).map_err(|it| it.iter().map(|it| it.kind).collect());
    let expected: [&str; 4] = ["extra_forbidden", "string_type", "missing", "int_parsing"];
    assert_eq!(kinds, Err(expected.to_vec()));
    let kind = |body: &[u8]| parse(body).expect_err("wrong")[0].kind;
    assert_eq!(kind(&[0x81, 0xa4, b'n']), "msgpack_invalid", "cut");
    assert_eq!(kind(&[0xc1]), "msgpack_invalid", "no marker");
    assert_eq!(kind(&[0x91; 100_000]), "msgpack_invalid", "deeply nested");
    assert_eq!(kind(b"\x81\xa4name\xc4\x01a"), "string_type", "bytes are no text");
}

#[test]
fn null_is_the_same_as_absent_for_optional_fields_only() {
    let body =
        parse::<Sample<'_>>(BodyForm::Json, br#"{"name": "a", "payload": "b", "retries": null}"#);
    assert!(body.is_ok_and(|body| body.retries.is_none()));
    assert_eq!(problems(br#"{"name": null, "payload": "b"}"#)[0].kind, "string_type");
}

#[test]
fn a_field_that_looks_like_a_known_one_is_refused_and_others_are_named() {
    let body = |field: &str| format!(r#"{{"name": "a", "payload": "", "{field}": "sandbox"}}"#);
    for typo in ["runtim", "Runtime", "runtimes", "run_time", "runitme", "retriess"] {
        let problems = problems(body(typo).as_bytes());
        let [problem] = &problems[..] else { panic!("{typo}: {problems:?}") };
        assert_eq!(problem.kind, "extra_forbidden");
        assert!(problem.msg.contains("did you mean `r"), "{}", problem.msg);
    }
    for other in ["x", "tags", "version", "metadata", "timeout"] {
        let json = body(other);
        let read = parse::<Sample<'_>>(BodyForm::Json, json.as_bytes()).map(|body| body.ignored);
        assert_eq!(read.ok().as_deref(), Some(&[other.to_owned()][..]), "{other}");
    }
    let whole = r#"{"name": "a", "payload": "b", "runtime": "native", "ids": []}"#;
    let body = parse::<Sample<'_>>(BodyForm::Json, whole.as_bytes()).expect("valid");
    let Sample { name, payload, runtime, ids, .. } = body;
    assert_eq!((&*name.0, &*payload.0, runtime.is_some()), ("a", "b", true));
    assert!(ids.is_some_and(|ids| ids.0.is_empty()));
    let many: Vec<_> = (0..1_000).map(|n| format!("\"{n}\":0")).collect();
    let many = format!("{{\"name\": \"a\", \"payload\": \"\", {}}}", many.join(","));
    assert_eq!(problems(many.as_bytes()).len(), 1);
}
