//! Reports: terminal, Markdown, HTML with inline SVG, JSON.
