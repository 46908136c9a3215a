"""``hdagger priors``: what is bundled."""

from rich.console import Console


def priors() -> None:
    """List the bundled priors with their cards.

    Example:

        hdagger priors
    """
    from ..priors import zoo

    console = Console(highlight=False)
    for card in zoo.cards():
        console.print(f"[bold]{card.name}[/bold]  {card.subject}")
        size = card.weights.stat().st_size / 1e6
        for title, text in (
            ("licence", card.licence),
            ("noise levels", f"{card.sigma_min:g} to {card.sigma_max:g}"),
            ("weights", f"{size:.1f} MB, sha256 {card.sha256[:16]}..."),
            ("data", card.data),
            ("recipe", card.recipe),
            ("evaluation", card.evaluation),
        ):
            console.print(f"  {title}: {text.strip()}", markup=False)
