#!/bin/sh
# The first program in the guest: makes the project visible and hands over to testbed/guest/init.py.
# The kernel's command line gives paths with unusual characters as octal escapes (lab_project=/home/me/my\040lab).
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export PATH
mount -t proc proc /proc
for word in $(cat /proc/cmdline); do
    case $word in lab_project=*) project=$(printf "${word#lab_project=}") ;; esac
done
# The option is a bare path before kernel 7 and `hostfs=PATH` since.
mount -t hostfs -o "ro,hostfs=$project" project /lab/project 2>/dev/null || mount -t hostfs -o "$project" project /lab/project
exec python3 /lab/project/testbed/guest/init.py
