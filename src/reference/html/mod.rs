//! A report for people: one HTML file that needs no network. For each machine a picture of what goes
//! into which register, the values to copy, and the doubts; for the build its artifacts and inputs.

mod chain;

use core::fmt::Write as _;

use super::{Confidence, Document, Emitted, Emitter, Machine};

/// The row of this form.
pub(super) const EMITTER: Emitter = Emitter {
    name: "html",
    about: "report for people, one file that needs no network",
    file: "report.html",
    media_type: "text/html",
    make: |document, _| Ok(Emitted::sure(page(document).into_bytes())),
};

/// Files the page may load: none. Style and the copy buttons' script stand in it.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'";

/// Machines above this number start folded.
const UNFOLDED: usize = 3;

fn page(document: &Document) -> String {
    let (name, tool) = (escaped(document.name()), escaped(&document.tool));
    let mut body = format!("<h1>{name}</h1>\n<p class=\"by\">Reference values, by {tool}</p>\n");
    body += &about(document);
    body += &overview(document);
    for (place, machine) in document.machines.iter().enumerate() {
        let open = if document.machines.len() <= UNFOLDED || place == 0 { " open" } else { "" };
        body += &section(machine, place, open);
    }
    body += &artifacts(document);
    body += &materials(document);
    let (style, script) = (include_str!("style.css"), include_str!("copy.js"));
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<title>{name}: reference values</title>\n\
         <style>\n{style}</style>\n<main>\n{body}</main>\n<script>\n{script}</script>\n</html>\n"
    )
}

fn about(document: &Document) -> String {
    let Some(recipe) = &document.recipe else {
        return "<p>Measured from files, without a recipe.</p>\n".to_string();
    };
    let row = |name: &str, value: &str| format!("<tr><th>{name}</th><td>{}</td></tr>\n", value);
    let code = |text: &str| copyable(text);
    let rows = [
        row("Architecture", &escaped(&recipe.arch)),
        row("Epoch", &escaped(&recipe.epoch)),
        row("Recipe, SHA-256", &code(&recipe.sha256)),
        row("Lock, SHA-256", &code(&recipe.lock_sha256)),
    ];
    format!("<table class=\"about\">\n{}</table>\n", rows.concat())
}

/// One line a machine, with a link to its section.
fn overview(document: &Document) -> String {
    if document.machines.len() < 2 {
        return String::new();
    }
    let mut rows = String::new();
    for (place, machine) in document.machines.iter().enumerate() {
        let label = escaped(&machine.label());
        let doubts = match machine.warnings.len() {
            0 => String::new(),
            count => format!("{count} ⚠"),
        };
        let _ = writeln!(
            rows,
            "<tr><td><a href=\"#m{place}\">{label}</a></td><td>{}</td><td>{}</td><td>{doubts}</td></tr>",
            machine.registers.keys().map(|name| escaped(name)).collect::<Vec<_>>().join(" "),
            confidence(machine.confidence),
        );
    }
    format!(
        "<h2>Machines</h2>\n<table class=\"list\">\n<tr><th>Machine</th><th>Registers</th>\
         <th>Confidence</th><th></th></tr>\n{rows}</table>\n"
    )
}

fn section(machine: &Machine, place: usize, open: &str) -> String {
    let label = escaped(&machine.label());
    let mut text = format!(
        "<details id=\"m{place}\"{open}>\n<summary><h2>{label}</h2> <span class=\"badge\">{}</span>\
         </summary>\n",
        confidence(machine.confidence)
    );
    for warning in &machine.warnings {
        let _ = writeln!(text, "<p class=\"warning\">⚠ {}</p>", escaped(warning));
    }
    text += &chain::picture(machine);
    text += "<table class=\"values\">\n";
    for (name, value) in &machine.registers {
        let stronger = machine
            .stronger
            .get(name)
            .map(|sure| format!(" <span class=\"badge\">{}</span>", confidence(*sure)));
        let (name, value) = (escaped(name), copyable(value) + &stronger.unwrap_or_default());
        let _ = writeln!(text, "<tr><th>{name}</th><td>{value}</td></tr>");
    }
    text += "</table>\n";
    text += &events(machine);
    text + "</details>\n"
}

fn events(machine: &Machine) -> String {
    if machine.events.is_empty() {
        return String::new();
    }
    let mut rows = String::new();
    for event in &machine.events {
        let _ = writeln!(
            rows,
            "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
            escaped(&event.register),
            escaped(&event.what),
            escaped(&event.kind),
            copyable(&event.digest),
        );
    }
    let count = machine.events.len();
    format!(
        "<details class=\"inner\"><summary>{count} events</summary>\n<table class=\"list\">\n\
         <tr><th>Register</th><th>What</th><th>Type</th><th>Digest</th></tr>\n{rows}</table>\n\
         </details>\n"
    )
}

fn artifacts(document: &Document) -> String {
    let row = |artifact: &super::Artifact| {
        let (name, digest) = (escaped(&artifact.name), copyable(&artifact.sha256));
        format!(
            "<tr><td>{name}</td><td class=\"number\">{}</td><td>{digest}</td></tr>\n",
            artifact.size
        )
    };
    table(
        "Artifacts",
        "<th>Name</th><th class=\"number\">Bytes</th><th>SHA-256</th>",
        document.artifacts.iter().map(row),
    )
}

fn materials(document: &Document) -> String {
    let row = |material: &super::Material| {
        let version = escaped(material.version.as_deref().unwrap_or(""));
        let arch = escaped(material.arch.as_deref().unwrap_or(""));
        let (kind, name) = (escaped(&material.kind), escaped(&material.name));
        let digest = copyable(&material.sha256);
        format!(
            "<tr><td>{name}</td><td>{version}</td><td>{arch}</td><td>{kind}</td><td>{digest}</td></tr>\n"
        )
    };
    let head = "<th>Name</th><th>Version</th><th>Architecture</th><th>Kind</th><th>SHA-256</th>";
    table("Inputs", head, document.materials.iter().map(row))
}

fn table(title: &str, head: &str, rows: impl ExactSizeIterator<Item = String>) -> String {
    match rows.len() {
        0 => String::new(),
        count => format!(
            "<h2>{title} <span class=\"count\">{count}</span></h2>\n<table class=\"list\">\n\
             <tr>{head}</tr>\n{}</table>\n",
            rows.collect::<String>()
        ),
    }
}

fn confidence(confidence: Confidence) -> &'static str {
    match confidence {
        Confidence::Source => "from specification",
        Confidence::ToolsAgree => "independent tools agree",
        Confidence::VtpmBoot => "booted with a virtual TPM",
        Confidence::Hardware => "seen on hardware",
    }
}

/// A value with a button that copies it.
fn copyable(value: &str) -> String {
    format!("<code>{}</code><button type=\"button\">copy</button>", escaped(value))
}

/// Text as it may stand in HTML, attributes and SVG.
fn escaped(text: &str) -> String {
    text.chars().fold(String::new(), |mut escaped, c| {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
        escaped
    })
}
