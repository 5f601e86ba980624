"""R@10 by system as bars: readable on a dark page and on a light one, and the same file for the same figures."""

from collections.abc import Mapping
from pathlib import Path

from bot.errors import RecollectError

_OURS, _OTHER, _INK = "#4c8bf5", "#8b949e", "#7d8590"  # mid tones stand out from both black and white


def draw(file: Path, recall_at_10: Mapping[str, float]) -> None:
    """Draw the bars, best on top; the first system is ours. The suffix says the format, svg or png."""
    try:
        import matplotlib
    except ImportError:
        raise RecollectError("The plot needs matplotlib: pip install matplotlib.") from None
    matplotlib.use("Agg")
    from matplotlib import pyplot

    ours = next(iter(recall_at_10))
    systems = sorted(recall_at_10, key=lambda name: recall_at_10[name])
    style = {"svg.hashsalt": "recollect", "svg.fonttype": "none", "font.family": "sans-serif", "font.size": 11}
    with pyplot.rc_context(style):
        figure, axes = pyplot.subplots(figsize=(7, 0.6 + 0.45 * len(systems)), layout="constrained")
        bars = axes.barh(systems, [recall_at_10[name] for name in systems], height=0.65)
        for name, bar in zip(systems, bars, strict=True):
            bar.set_color(_OURS if name == ours else _OTHER)
        axes.bar_label(bars, fmt="%.1f", padding=4, color=_INK)
        axes.set_xlim(0, 100)
        axes.set_xlabel("R@10: evidence among the first ten, %", color=_INK)
        axes.tick_params(colors=_INK, length=0)
        for spine in axes.spines.values():
            spine.set_visible(False)
        try:
            figure.savefig(file, transparent=True, metadata={"Date": None} if file.suffix == ".svg" else None)
        except (OSError, ValueError) as error:
            raise RecollectError(f"The plot cannot be written to {file}: {error}") from error
        finally:
            pyplot.close(figure)
