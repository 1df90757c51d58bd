"""An RTSP server for tests and tools, run by Debian's python3: a camera, or a receiver of a stream.

    /usr/bin/python3 rtsp_server.py camera PORT "GSTREAMER PIPELINE ending in pay0" [USER PASSWORD]
    /usr/bin/python3 rtsp_server.py camera PORT "GSTREAMER PIPELINE ending in pay0" CERTIFICATE.pem
    /usr/bin/python3 rtsp_server.py record PORT FILE

A camera serves rtsp://127.0.0.1:PORT/1. A receiver writes what is published to
rtsp://127.0.0.1:PORT/in to FILE. Both print a line when a client connects or disconnects.
"""

import sys
from functools import partial

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import Gio, GLib, Gst, GstRtspServer  # noqa: E402

tell = partial(print, flush=True)


def camera(server: GstRtspServer.RTSPServer, pipeline: str, *how: str) -> None:
    """Serve a pipeline at /1. All clients share one instance of it."""
    factory = GstRtspServer.RTSPMediaFactory.new()
    factory.set_launch(pipeline)
    factory.set_shared(True)
    if how:
        protect(server, factory, *how)
    server.get_mount_points().add_factory("/1", factory)


def protect(server: GstRtspServer.RTSPServer, factory: object, *how: str) -> None:
    """Require a user and a password, or use TLS with a file of a key and a certificate."""
    auth = GstRtspServer.RTSPAuth.new()
    token = GstRtspServer.RTSPToken.new()
    token.set_string("media.factory.role", "user")
    if len(how) == 2:
        auth.add_basic(GstRtspServer.RTSPAuth.make_basic(*how), token)
    else:
        auth.set_tls_certificate(Gio.TlsCertificate.new_from_file(*how))
        auth.set_default_token(token)
    server.set_auth(auth)
    factory.add_role_from_structure(
        Gst.Structure.new_from_string("user,media.factory.access=true,media.factory.construct=true")
    )


def keep_stamps(media: GstRtspServer.RTSPMedia) -> None:
    """Keep the time stamps of packets. By default, their time of arrival is used instead."""
    pipeline = media.get_element().get_parent()
    for element in pipeline.children:
        if element.get_factory() and element.get_factory().get_name() == "rtpbin":
            Gst.util_set_object_arg(element, "buffer-mode", "none")


def record(server: GstRtspServer.RTSPServer, where: str) -> None:
    """Receive a stream at /in, and write its H.264 to a Matroska file without re-encoding."""
    factory = GstRtspServer.RTSPMediaFactory.new()
    factory.set_transport_mode(GstRtspServer.RTSPTransportMode.RECORD)
    factory.set_launch(
        "( rtph264depay name=depay0 ! h264parse ! "
        f"matroskamux streamable=true ! filesink buffer-mode=2 location={where} )"
    )
    factory.set_latency(0)
    factory.connect("media-configure", lambda _, media: media.connect("prepared", keep_stamps))
    server.get_mount_points().add_factory("/in", factory)


def tell_of_clients(server: GstRtspServer.RTSPServer) -> None:
    """Print a line when a client connects or disconnects."""

    def connected(_: object, client: GstRtspServer.RTSPClient) -> None:
        tell("connected")
        client.connect("closed", lambda _: tell("closed"))

    server.connect("client-connected", connected)


def main() -> None:
    """Read the command line, and serve until the process is killed."""
    kind, port, *rest = sys.argv[1:]
    Gst.init(None)
    server = GstRtspServer.RTSPServer.new()
    server.set_address("127.0.0.1")
    server.set_service(port)
    {"camera": camera, "record": record}[kind](server, *rest)
    tell_of_clients(server)
    server.attach(None)
    tell("ready")
    GLib.MainLoop().run()


main()
