//! The status page: plain HTML that any browser, and `curl`, can show.

use super::{Readiness, StatusSource};

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;margin:2rem;max-width:70rem}\
table{border-collapse:collapse}td,th{padding:.25rem 1rem .25rem 0;text-align:left;\
border-bottom:1px solid #ccc}th{font-weight:600}";

/// The page.
pub(super) fn render(status: &dyn StatusSource, readiness: Readiness) -> String {
    let role = escape(status.role());
    let parts: String =
        status.parts().iter().map(|(part, state)| row("td", [part, state])).collect();
    let table = status.table();
    let (head, rows) =
        table.split_first().map_or((String::new(), String::new()), |(head, rows)| {
            (row("th", head), rows.iter().map(|cells| row("td", cells)).collect())
        });
    format!(
        "<!doctype html><html lang=en><meta charset=utf-8><meta http-equiv=refresh content=5>\
         <title>qqrelay {role}</title><style>{STYLE}</style>\
         <h1>qqrelay {role}: {readiness}</h1><table>{parts}</table>\
         <h2>Shards</h2><table>{head}{rows}</table>\
         <p><a href=/metrics>metrics</a> · <a href=\"/readyz?verbose\">readiness</a></p></html>\n"
    )
}

fn row<T: AsRef<str>>(tag: &str, cells: impl IntoIterator<Item = T>) -> String {
    let cells: String =
        cells.into_iter().map(|cell| format!("<{tag}>{}</{tag}>", escape(cell.as_ref()))).collect();
    format!("<tr>{cells}</tr>")
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
