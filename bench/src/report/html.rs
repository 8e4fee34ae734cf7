//! The report as one HTML file: its pictures are within, so that it can be sent around.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use pulldown_cmark::{CowStr, Event, Options, Parser, Tag, TagEnd, html};

const STYLE: &str = "
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #282c34; }
table { border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums; display: block; overflow-x: auto; }
th, td { border-bottom: 1px solid #e1e4e8; padding: .25rem .7rem; text-align: left; }
th { background: #f6f8fa; }
h2 { margin-top: 2.5rem; border-bottom: 1px solid #e1e4e8; }
svg { max-width: 100%; height: auto; }
code { background: #f6f8fa; padding: 0 .2em; }
";

/// Markdown as a page; pictures are read from `dir`.
pub(super) fn page(markdown: &str, dir: &Path) -> Result<String> {
    let mut events = Vec::new();
    let mut is_in_picture = false;
    for event in Parser::new_ext(markdown, Options::ENABLE_TABLES) {
        match event {
            Event::Start(Tag::Image { dest_url, .. }) => {
                is_in_picture = true;
                let path = dir.join(dest_url.as_ref());
                let picture = fs::read_to_string(&path);
                let picture =
                    picture.with_context(|| format!("cannot read `{}`", path.display()))?;
                events.push(Event::Html(CowStr::from(scalable(&picture))));
            }
            Event::End(TagEnd::Image) => is_in_picture = false,
            // The text that stands for the picture.
            _ if is_in_picture => {}
            event => events.push(event),
        }
    }
    let mut body = String::new();
    html::push_html(&mut body, events.into_iter());
    Ok(format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<title>belljar: performance</title>\n\
         <style>{STYLE}</style>\n{body}</html>\n"
    ))
}

/// The picture without the declaration that only a file of its own may have.
fn scalable(svg: &str) -> String {
    svg.find("<svg").map_or(svg, |start| &svg[start..]).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_are_within_and_tables_are_tables() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a.svg"), "<?xml?><svg width=\"1\"></svg>").unwrap();
        let page = page("| a |\n|---|\n| 1 |\n\n![A picture](a.svg)\n", dir.path()).unwrap();
        assert!(page.contains("<td>1</td>"), "{page}");
        assert!(page.contains("<svg width=\"1\"></svg>") && !page.contains("<?xml"), "{page}");
        assert!(!page.contains("A picture"), "{page}");
    }

    #[test]
    fn a_missing_picture_is_named() {
        let error = page("![A](plots/none.svg)", Path::new("/nowhere")).unwrap_err();
        assert!(format!("{error:#}").contains("plots/none.svg"), "{error:#}");
    }
}
