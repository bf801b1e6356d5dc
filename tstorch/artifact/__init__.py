"""The compiler's product: the zip format of docs/artifact.md, and WGSL as text."""
