"""Photos and videos: which may be opened, what is uploaded, and what the page is shown of them."""
