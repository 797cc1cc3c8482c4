"""The studio: a local server and its page, to click, track, correct and export in a browser (extra ``studio``).

``create_app`` of :mod:`sam2.web.app` makes the server of :class:`sam2.web.settings.StudioSettings`;
``sam2 studio`` runs it.
"""
