"""``python -m hdagger`` is ``hdagger``."""

from .cli.main import main

if __name__ == "__main__":
    main()
