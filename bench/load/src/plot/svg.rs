//! As much SVG as a plot needs.

use std::fmt::Write;

const STYLE: &str = "\
text{font-family:system-ui,'DejaVu Sans',Helvetica,Arial,sans-serif;fill:#222}\
.title{font-size:18px;font-weight:600}.panel{font-size:14px;font-weight:600}\
.label{font-size:13px}.small{font-size:11.5px;fill:#555}\
.thin{stroke-width:1}.curve{stroke-width:2.2}\
.guess{stroke-width:1.6;stroke-dasharray:2 4}.dashed{stroke-width:1.2;stroke-dasharray:6 4}\
.pale{fill-opacity:.35;stroke-width:1}.hollow{fill:#fff;stroke-width:1.8}";

/// Which end of a text its place is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

/// How far a point can be trusted.
#[derive(Clone, Copy, Debug)]
pub(super) enum Dot {
    Solid,
    Pale,
    Hollow,
}

/// A picture that is being drawn.
#[derive(Debug)]
pub(super) struct Svg(String);

impl Svg {
    /// White, so that it can be read on any page.
    pub(super) fn new(width: f64, height: f64) -> Self {
        Self(format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
             width=\"{width}\" height=\"{height}\">\n<style>{STYLE}</style>\n\
             <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n"
        ))
    }

    pub(super) fn text(&mut self, (x, y): (f64, f64), anchor: Anchor, class: &str, text: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let text = escaped(text);
        self.put(&format!(
            "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" class=\"{class}\">{text}</text>"
        ));
    }

    pub(super) fn line(&mut self, from: (f64, f64), to: (f64, f64), colour: &str, class: &str) {
        let ((x1, y1), (x2, y2)) = (from, to);
        self.put(&format!(
            "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" stroke=\"{colour}\" \
             class=\"{class}\"/>"
        ));
    }

    pub(super) fn dot(&mut self, (x, y): (f64, f64), colour: &str, dot: Dot) {
        let look = match dot {
            Dot::Solid => format!("fill=\"{colour}\""),
            Dot::Pale => format!("fill=\"{colour}\" stroke=\"{colour}\" class=\"pale\""),
            Dot::Hollow => format!("stroke=\"{colour}\" class=\"hollow\""),
        };
        self.put(&format!(
            "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\" {look}/>"
        ));
    }

    /// What `draw` draws shows `hint` under the pointer.
    pub(super) fn hinted(&mut self, hint: &str, draw: impl FnOnce(&mut Self)) {
        self.put(&format!("<g><title>{}</title>", escaped(hint)));
        draw(self);
        self.put("</g>");
    }

    pub(super) fn finish(mut self) -> String {
        self.put("</svg>");
        self.0
    }

    fn put(&mut self, element: &str) {
        writeln!(self.0, "{element}").expect("a string takes everything");
    }
}

fn escaped(text: &str) -> String {
    (text.replace('&', "&amp;").replace('<', "&lt;")).replace('>', "&gt;")
}
