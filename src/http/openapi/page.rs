//! A page of the document that needs nothing from elsewhere: no script, one style sheet in it, no other resource.

use actix_web::web::Bytes;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

const STYLE: &str = include_str!("page.css");
/// The verbs that OpenAPI has, in the order of the page.
const METHODS: &[&str] = &[
    "get", "put", "post", "delete", "options", "head", "patch", "trace",
];
/// How deep a schema is shown in place; what lies deeper is a name with a link.
const DEPTH: usize = 4;

/// HTML, and what a browser may do with it.
#[derive(Clone, Debug)]
pub struct Page {
    /// The page.
    pub html: Bytes,
    /// Its `Content-Security-Policy`: this style sheet, by its hash, and nothing else (CSP Level 3 §2.3.1, §8.4).
    pub policy: String,
}

impl Page {
    /// The page of an OpenAPI document.
    pub fn of(document: &Value) -> Self {
        let hash = STANDARD.encode(openssl::sha::sha256(STYLE.as_bytes()));
        let policy = format!(
            "default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        );
        let mut html = Html::default();
        html.document(document);
        Self {
            html: Bytes::from(html.0),
            policy,
        }
    }
}

/// HTML under way. Whatever comes from the document is escaped.
#[derive(Default)]
struct Html(String);

impl Html {
    fn raw(&mut self, html: &str) -> &mut Self {
        self.0.push_str(html);
        self
    }

    fn text(&mut self, text: &str) -> &mut Self {
        for c in text.chars() {
            match c {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                c => self.0.push(c),
            }
        }
        self
    }

    /// CommonMark as far as the document uses it: code between backticks.
    fn prose(&mut self, text: &str) -> &mut Self {
        for (place, part) in text.split('`').enumerate() {
            if place % 2 == 0 {
                self.text(part);
            } else {
                self.code(part);
            }
        }
        self
    }

    fn code(&mut self, text: &str) -> &mut Self {
        self.raw("<code>").text(text).raw("</code>")
    }

    fn paragraph(&mut self, text: Option<&str>) {
        if let Some(text) = text {
            self.raw("<p>").prose(text).raw("</p>\n");
        }
    }

    fn document(&mut self, document: &Value) {
        let title = text_of(&document["info"], "title").unwrap_or_default();
        let version = text_of(&document["info"], "version").unwrap_or_default();
        self.raw("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">")
            .raw("<meta name=\"viewport\" content=\"width=device-width\"><title>")
            .text(title)
            .raw("</title><style>")
            .raw(STYLE)
            .raw("</style></head><body>\n<h1>")
            .text(title)
            .raw(" ")
            .text(version)
            .raw("</h1>\n");
        self.paragraph(text_of(&document["info"], "summary"));
        self.paragraph(text_of(&document["info"], "description"));
        self.raw("<p>For programs: <a href=\"openapi.json\">openapi.json</a></p>\n");
        for (path, item) in members(&document["paths"]) {
            for method in METHODS {
                if let Some(operation) = item.get(method) {
                    self.operation(document, method, path, operation);
                }
            }
        }
        self.raw("<h2>Schemas</h2>\n");
        for (name, schema) in members(at(document, "/components/schemas")) {
            self.raw("<h3 id=\"")
                .text(name)
                .raw("\">")
                .text(name)
                .raw("</h3>\n");
            self.schema(schema, 0);
        }
        self.raw("</body></html>\n");
    }

    fn operation(&mut self, document: &Value, method: &str, path: &str, operation: &Value) {
        self.raw("<h2>")
            .code(&format!("{} {path}", method.to_uppercase()));
        self.raw("</h2>\n");
        self.paragraph(text_of(operation, "summary"));
        self.paragraph(text_of(operation, "description"));
        self.security(operation);
        let parameters = operation["parameters"].as_array().map_or(&[][..], Vec::as_slice);
        if !parameters.is_empty() {
            self.raw("<h3>Parameters</h3>\n<table>\n");
            for parameter in parameters {
                let parameter = resolved(document, parameter);
                self.raw("<tr><td>")
                    .code(text_of(parameter, "name").unwrap_or_default());
                self.raw("</td><td>")
                    .text(text_of(parameter, "in").unwrap_or_default())
                    .raw(if parameter["required"] == true {
                        ", required"
                    } else {
                        ""
                    })
                    .raw("</td><td>")
                    .prose(text_of(parameter, "description").unwrap_or_default())
                    .raw(" ");
                self.constraints(&parameter["schema"]);
                self.raw("</td></tr>\n");
            }
            self.raw("</table>\n");
        }
        if let Some(body) = operation.get("requestBody") {
            self.raw("<h3>Body</h3>\n");
            self.content(&body["content"]);
        }
        self.raw("<h3>Answers</h3>\n<table>\n");
        for (status, response) in members(&operation["responses"]) {
            self.response(status, resolved(document, response));
        }
        self.raw("</table>\n");
    }

    fn security(&mut self, operation: &Value) {
        let ways = operation["security"].as_array().map_or(&[][..], Vec::as_slice);
        if ways.is_empty() {
            self.raw("<p>Anyone.</p>\n");
            return;
        }
        self.raw("<p>");
        for (place, way) in ways.iter().enumerate() {
            self.raw(if place > 0 { "; or " } else { "" });
            for (place, (scheme, scopes)) in members(way).enumerate() {
                self.raw(if place > 0 { " with " } else { "" }).code(scheme);
                for scope in scopes.as_array().into_iter().flatten().filter_map(Value::as_str) {
                    self.raw(", scope ").code(scope);
                }
            }
        }
        self.raw(".</p>\n");
    }

    fn response(&mut self, status: &str, response: &Value) {
        self.raw("<tr><td>").text(status).raw("</td><td>");
        self.prose(text_of(response, "description").unwrap_or_default());
        let problem = at(response, "/content/application~1problem+json/schema/allOf");
        let codes = problem.as_array().into_iter().flatten();
        let codes = codes.filter_map(|part| at(part, "/properties/code/enum").as_array());
        for code in codes.flatten().filter_map(Value::as_str) {
            self.raw(" ").code(code);
        }
        if problem.is_null() {
            self.content(&response["content"]);
        }
        self.raw("</td></tr>\n");
    }

    fn content(&mut self, content: &Value) {
        for (media, body) in members(content) {
            self.raw("<div>").code(media).raw(" ");
            self.schema(&body["schema"], DEPTH);
            self.raw("</div>\n");
        }
    }

    /// A schema: its name where it has one, else what it says, with its members down to [`DEPTH`].
    fn schema(&mut self, schema: &Value, depth: usize) {
        if let Some(name) = text_of(schema, "$ref").and_then(|path| path.rsplit('/').next()) {
            self.raw("<a href=\"#")
                .text(name)
                .raw("\">")
                .text(name)
                .raw("</a>");
            return;
        }
        self.constraints(schema);
        self.prose(text_of(schema, "description").unwrap_or_default());
        for (word, sign) in [("oneOf", " or "), ("allOf", " and ")] {
            let parts = schema[word].as_array().map_or(&[][..], Vec::as_slice);
            // What is required together says more to programs than to people.
            let parts = parts
                .iter()
                .filter(|part| part.get("required").is_none() || part.get("properties").is_some());
            for (place, part) in parts.enumerate() {
                self.raw(if place > 0 { sign } else { " " });
                self.schema(part, depth + 1);
            }
        }
        if let Some(items) = schema.get("items") {
            self.raw(" of ");
            self.schema(items, depth + 1);
        }
        let properties = &schema["properties"];
        if depth > DEPTH || members(properties).next().is_none() {
            return;
        }
        let required: Vec<&str> = schema["required"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        self.raw("<table>\n");
        for (name, member) in members(properties) {
            self.raw("<tr><td>").code(name);
            self.raw("</td><td>")
                .raw(if required.contains(&name.as_str()) {
                    "required"
                } else {
                    ""
                })
                .raw("</td><td>");
            self.schema(member, depth + 1);
            self.raw("</td></tr>\n");
        }
        self.raw("</table>\n");
    }

    /// Type and bounds, in a few words.
    fn constraints(&mut self, schema: &Value) {
        match &schema["type"] {
            Value::String(kind) => drop(self.text(kind).raw(" ")),
            Value::Array(kinds) => {
                let kinds: Vec<&str> = kinds.iter().filter_map(Value::as_str).collect();
                self.text(&kinds.join(" or ")).raw(" ");
            }
            _ => {}
        }
        if let Some(only) = schema.get("const") {
            self.code(&only.to_string()).raw(" ");
        }
        for word in schema["enum"].as_array().into_iter().flatten() {
            self.code(&word.to_string()).raw(" ");
        }
        for (name, says) in [
            ("format", ""),
            ("pattern", ""),
            ("contentEncoding", ""),
            ("default", "default "),
            ("minimum", "from "),
            ("maximum", "to "),
            ("minLength", "length from "),
            ("maxLength", "length to "),
            ("minItems", "items from "),
            ("maxItems", "items to "),
            ("minProperties", "members from "),
            ("maxProperties", "members to "),
        ] {
            match schema.get(name) {
                None => {}
                Some(Value::String(text)) => drop(self.raw(says).code(text).raw(" ")),
                Some(value) => drop(self.raw(says).text(&value.to_string()).raw(" ")),
            }
        }
    }
}

fn text_of<'a>(value: &'a Value, name: &str) -> Option<&'a str> {
    value.get(name).and_then(Value::as_str)
}

/// What a JSON pointer leads to (RFC 6901); null where there is nothing.
fn at<'a>(value: &'a Value, pointer: &str) -> &'a Value {
    value.pointer(pointer).unwrap_or(&Value::Null)
}

fn members(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flat_map(Map::iter)
}

/// What a reference inside of the document names.
fn resolved<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    let path = text_of(value, "$ref").and_then(|path| path.strip_prefix('#'));
    path.and_then(|path| document.pointer(path)).unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_the_document_says_is_escaped() {
        let evil = r#"<script>"x"&'y'</script>"#;
        let document = json!({
            "info": { "title": evil, "description": format!("`{evil}` {evil}") },
            "paths": { evil: { "get": {
                "summary": evil,
                "security": [{ evil: [evil] }],
                "parameters": [{ "name": evil, "in": evil, "schema": { "pattern": evil, "enum": [evil] } }],
                "responses": { evil: { "description": evil } },
            } } },
            "components": { "schemas": { evil: { "$ref": evil, "properties": { evil: { "const": evil, "default": evil } } } } },
        });
        let page = Page::of(&document);
        let html = std::str::from_utf8(&page.html).expect("text");
        assert!(!html.contains("<script") && !html.contains("</script"), "{html}");
        assert!(html.contains("&lt;script&gt;&quot;x&quot;&amp;&#39;y&#39;&lt;/script&gt;"));
        let members = html
            .split('<')
            .filter(|tag| tag.starts_with("a ") || tag.starts_with("h3 "));
        assert!(
            members.clone().count() >= 2 && members.clone().all(|tag| tag.matches('"').count() == 2),
            "{html}"
        );
    }

    #[test]
    fn a_document_without_anything_makes_a_page() {
        let html = Page::of(&Value::Null).html;
        assert!(html.starts_with(b"<!doctype html>") && html.ends_with(b"</html>\n"));
    }
}
