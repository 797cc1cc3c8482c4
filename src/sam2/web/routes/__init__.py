"""The calls, a module for each kind of thing they are about."""

from sam2.web.routes import events, exports, frames, media, objects, pictures, projects, segment, server, tracking

ROUTERS = [
    module.router for module in (server, segment, media, projects, objects, frames, pictures, tracking, exports, events)
]
