"""Pages to look at in a browser: folders of plain files that need no server, no network and no build step."""
