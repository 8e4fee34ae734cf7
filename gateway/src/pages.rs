//! The pages, complete in themselves: they load nothing but this gateway's own answers.

/// The front page.
pub(crate) const HOME: &str = include_str!("../assets/home.html");

/// The page that shows `/openapi.json`.
pub(crate) const DOCS: &str = include_str!("../assets/docs.html");

/// What browsers may do for the pages: ask this gateway, and nothing else.
pub(crate) const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src \
     'unsafe-inline'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; \
     frame-ancestors 'none'";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_load_nothing_from_elsewhere() {
        for page in [HOME, DOCS] {
            for foreign in ["src=\"http", "href=\"http", "url(http", "@import"] {
                assert!(!page.contains(foreign), "{foreign}");
            }
        }
    }
}
