"""What is raised when an artifact cannot be read or written."""

from tstorch.diagnostics import DiagnosticError


class ArtifactError(DiagnosticError):
    """The file is missing, damaged, of a newer schema, or breaks a rule of its format."""
