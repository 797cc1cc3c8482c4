"""Who may call the studio, how often, and with how much: plain ASGI layers around the application."""
