"""What can be wrong with what a person wrote in a file.

EvergreenError                 the base of every error a person is meant to read
└── ConfigError                a file under configs/, params.yaml, or the environment
    ├── UnknownCase
    └── NotAProject
"""


class EvergreenError(Exception):
    """What happened, what was expected, and what to do next, in words for a person."""


class ConfigError(EvergreenError):
    """A configuration file cannot be used as it stands."""


class UnknownCase(ConfigError):
    """Nobody has described this case."""

    def __init__(self, name: str, known: list[str], nearest: str | None) -> None:
        meant = f" Did you mean `{nearest}`?" if nearest else ""
        super().__init__(
            f"There is no case `{name}`.{meant} Known cases: {', '.join(known) or 'none'}. "
            f"To add one, write configs/{name}.yaml and a section `{name}` in params.yaml (docs/your-own-table.md)."
        )


class NotAProject(ConfigError):
    """The current folder does not belong to an Evergreen project."""

    def __init__(self, folder: str) -> None:
        super().__init__(
            f"{folder} is not inside an Evergreen project: no parent folder has both params.yaml and configs/. "
            "Change into your clone, or set EVERGREEN_ROOT to it."
        )
