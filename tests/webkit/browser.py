#!/usr/bin/python3
"""A WebKitGTK browser for tests, started by WebKitWebDriver through safaridriver.mjs.

MiniBrowser under automation keeps nothing on disk, so navigator.storage.getDirectory() rejects in it. This one has a
persistent profile, in $WEBKIT_TEST_PROFILE, and the features of the file system API turned on.
"""
import ctypes
import os
import sys
import tempfile

import gi

gi.require_version("Gtk", "3.0")
gi.require_version("WebKit2", "4.1")
from gi.repository import Gtk, WebKit2  # noqa: E402

PR_SET_PDEATHSIG, SIGKILL = 1, 9
FEATURES = {
    "FileSystem",
    "AccessHandle",
    "FileSystemWritableStream",
    "StorageAPI",
    "StorageAPIEstimate",
    "ReadableByteStreamAPI",
}


def main():
    # The test runner kills drivers hard; this process must not outlive its own.
    ctypes.CDLL("libc.so.6").prctl(PR_SET_PDEATHSIG, SIGKILL)
    profile = os.environ.get("WEBKIT_TEST_PROFILE") or tempfile.mkdtemp(prefix="webkit-profile-")
    data = WebKit2.WebsiteDataManager(base_data_directory=profile + "/data", base_cache_directory=profile + "/cache")
    context = WebKit2.WebContext.new_with_website_data_manager(data)
    context.set_automation_allowed(True)
    settings = make_settings()
    windows = []

    def new_view():
        view = WebKit2.WebView(web_context=context, settings=settings, is_controlled_by_automation=True)
        window = Gtk.Window()
        window.set_default_size(1024, 768)
        window.add(view)
        window.show_all()
        windows.append(window)
        view.connect("close", lambda *_: window.destroy())
        return view

    def on_automation_started(_context, session):
        # WebKitWebDriver checks that the browser that answers is one it knows.
        info = WebKit2.ApplicationInfo()
        info.set_name("MiniBrowser")
        info.set_version(2, 50, 0)
        session.set_application_info(info)
        session.connect("create-web-view", lambda _session: new_view())

    context.connect("automation-started", on_automation_started)
    for argument in sys.argv[1:]:
        if argument.startswith("http"):
            new_view().load_uri(argument)
    Gtk.main()


def make_settings():
    settings = WebKit2.Settings()
    features = WebKit2.Settings.get_all_features()
    for index in range(features.get_length()):
        feature = features.get(index)
        if feature.get_identifier() in FEATURES:
            settings.set_feature_enabled(feature, True)
    settings.set_enable_developer_extras(True)
    settings.set_property("hardware-acceleration-policy", WebKit2.HardwareAccelerationPolicy.NEVER)
    return settings


main()
