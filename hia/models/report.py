"""The account of where an animator's weights came from."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class LoadReport:
    """Where the weights of each module came from: every key is either loaded or listed as new."""

    loaded: dict[str, str] = field(default_factory=dict)
    new: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def __str__(self) -> str:
        lines = [f"{module}: from {source}" for module, source in self.loaded.items()]
        for module, keys in self.new.items():
            shown = ", ".join(keys[:4]) + (f" and {len(keys) - 4} more" if len(keys) > 4 else "")
            lines.append(f"{module}: new {shown}")
        return "\n".join(lines)
