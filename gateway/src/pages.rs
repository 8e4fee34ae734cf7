//! The pages, complete in themselves: they load nothing but this gateway's own answers.

use include_dir::{Dir, include_dir};

/// The pages and what they consist of.
static FILES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/assets/pages");

/// The dashboard.
pub(crate) const DASHBOARD: &str = include_str!("../assets/pages/dashboard.html");

/// The first steps.
pub(crate) const START: &str = include_str!("../assets/pages/start.html");

/// The page that shows `/openapi.json`.
pub(crate) const DOCS: &str = include_str!("../assets/pages/docs.html");

/// What browsers may do for the pages: load files of this gateway and ask it, and nothing else.
pub(crate) const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; \
     connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; \
     frame-ancestors 'none'; require-trusted-types-for 'script'";

/// A file that pages load, and its content type.
pub(crate) fn file(name: &str) -> Option<(&'static str, &'static [u8])> {
    let kind = match name.rsplit_once('.')?.1 {
        "js" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "svg" => "image/svg+xml",
        "LICENSE" => "text/plain; charset=utf-8",
        _ => return None,
    };
    FILES.get_file(name).map(|file| (kind, file.contents()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_load_nothing_from_elsewhere() {
        let texts = FILES.files().filter_map(|file| Some((file.path(), file.contents_utf8()?)));
        let texts: Vec<_> = texts.collect();
        assert!(texts.len() > 8, "{}", texts.len());
        for (path, text) in texts {
            for foreign in ["src=\"http", "href=\"http", "url(http", "@import", "from \"http"] {
                assert!(!text.contains(foreign), "{foreign} in {}", path.display());
            }
        }
    }

    #[test]
    fn pages_have_no_scripts_and_styles_of_their_own_which_the_policy_refuses() {
        for page in [DASHBOARD, START, DOCS] {
            for inline in ["<style", "style=", "<script>", " onclick="] {
                assert!(!page.contains(inline), "{inline}");
            }
            for part in page.split("assets/").skip(1) {
                let name = part.split('"').next().unwrap_or_default();
                assert!(file(name).is_some(), "{name}");
            }
        }
    }
}
