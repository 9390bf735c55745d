"""`python -m unetkit.cli`, the same as `unet`."""

from unetkit.cli.entry import main

main()
