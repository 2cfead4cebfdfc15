#!/bin/sh
# The first program in the guest: makes the project visible and hands over to testbed/guest/process1.py.
# Paths on the host are links in the folder that the guest was started in; `project` is one of them.
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export PATH
mount -t proc proc /proc
mount -t devtmpfs dev /dev # a tree that an ordinary user made has no device files
here=/proc/self/cwd
# The option is a bare path before kernel 7 and `hostfs=PATH` since.
mount -t hostfs -o "ro,hostfs=$here/project" project /lab/project 2>/dev/null ||
    mount -t hostfs -o "ro,$here/project" project /lab/project
exec python3 /lab/project/testbed/guest/process1.py
