export const README_NAME = 'README';

/** What a person finds in the root; `ctl` points here. */
export const README_TEXT = `This directory publishes ports of this machine on the host that runs it.

To publish a port:
  1. mkdir a directory here; its name is yours to choose, but two cannot have the same
  2. open its file "ctl" for reading and writing
  3. write one request, in one write
  4. go back to the start of the file and read the answer:
       OK <request as it came out>    the port is published
       ERROR <reason>                 it is not
  5. keep "ctl" open. The port stays published until it is closed, also by a crash, or until the directory is removed.

A directory whose "ctl" is not opened within a few seconds goes away.

Requests:
  tcp:<host address>:<host port>:tcp:<address>:<port>
  udp:<host address>:<host port>:udp:<address>:<port>
  unix:<base64 of a path on the host>:unix:<base64 of a path here>

An IPv6 address stands in brackets: tcp:[::1]:8080:tcp:[fd00::2]:80
Several host addresses get the same port: tcp:127.0.0.1,[::1]:8080:tcp:172.17.0.2:80
Ports may be a range, each leads to its own: tcp:0.0.0.0:8000-8099:tcp:172.17.0.2:8000-8099
Host port 0 asks for a free port, or for free ports in a row when there is a range behind it; a range of host ports that
leads to one port asks for any free one of them. The answer says which. All that is asked for is published, or nothing.
Options stand behind a request: ?wait=listening&proxy-protocol=v2&idle-timeout=600&keepalive=60
Example: tcp:127.0.0.1:8080:tcp:172.17.0.2:80

Beside "ctl" a directory has "status" (state, request, since when) and "stats" (counters); both can only be read.
A shell cannot go back in a file. It reads the answer through a second opening of "ctl" while it holds the first:
  mkdir web && exec 3<>web/ctl && echo tcp:127.0.0.1:8080:tcp:172.17.0.2:80 >&3 && cat web/ctl
`;
