"""The rules that come with TSTorch and with plugins, and how files of rules are read."""

from collections.abc import Collection
from pathlib import Path

from tstorch.passes.fusion.rules.syntax import Rule, RuleError, parse_rules
from tstorch.plugins import Extensions

FOLDER = Path(__file__).resolve().parent


def read_rules(path: Path, shown: str | None = None) -> list[Rule]:
    """The rules of a file. Raises RuleError, with file, line and column."""
    name = shown or str(path)
    try:
        return parse_rules(path.read_text(encoding="utf-8"), name)
    except OSError as error:
        raise RuleError(f"cannot read the rules '{name}': {error.strerror}") from None
    except UnicodeDecodeError:
        raise RuleError(f"the rules '{name}' are no text") from None


def library_rules(extensions: Extensions, without: Collection[str] = ()) -> list[Rule]:
    """The rules of plugins, then the built-in ones, less those named: by their names, or their file's."""
    files = [path for path in _files(extensions) if path.stem not in without]
    return [rule for path in files for rule in read_rules(path, path.name) if rule.name not in without]


def library_rule_names(extensions: Extensions) -> list[str]:
    """The names that `--without` may leave out: of each file of rules, and of its rules."""
    return [*(path.stem for path in _files(extensions)), *(str(rule.name) for rule in library_rules(extensions))]


def _files(extensions: Extensions) -> list[Path]:
    return [*extensions.rules, *sorted(FOLDER.glob("*.rules"))]
