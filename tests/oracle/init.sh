#!/bin/sh
# The first process of a User Mode Linux guest, whose root is the host's (hostfs): makes the guest a home of its own,
# loads what IPVS may need, runs the oracle over the list of its cases, and switches the guest off. Nothing here
# touches the host: mounts, modules and settings are the guest's.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 HOME=/run
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t tmpfs run /run
mount -t devtmpfs dev /dev 2>/dev/null
modules=/usr/lib/uml/modules/$(uname -r)
if [ -d "$modules" ]; then
    # modprobe looks below lib/modules of the folder it is given; the kernel loads more through it on demand.
    mkdir -p /run/m/lib/modules
    ln -s "$modules" /run/m/lib/modules/
    printf '#!/bin/sh\nexec /sbin/modprobe -d /run/m "$@"\n' >/run/modprobe
    chmod +x /run/modprobe
    echo /run/modprobe >/proc/sys/kernel/modprobe
    /run/modprobe -a ip_vs ip_vs_rr ip_vs_wrr ip_vs_lc ip_vs_wlc ip_vs_lblc ip_vs_lblcr ip_vs_dh ip_vs_sh ip_vs_sed \
        ip_vs_nq ip_vs_fo ip_vs_ovf ip_vs_mh ip_vs_ftp ip_vs_pe_sip ipip ip_gre ip6_gre ip6_tunnel fou fou6 sit tun \
        sctp xt_mark iptable_mangle ip6table_mangle xt_tcpudp xt_sctp 2>/run/modules.err
fi
[ -c /dev/net/tun ] || { mkdir -p /dev/net && mknod /dev/net/tun c 10 200; }
ip link set lo up
# No name servers: ipvsadm without -n would wait for them.
: >/run/resolv.conf
mount --bind /run/resolv.conf /etc/resolv.conf
sed 's/^hosts:.*/hosts: files/' /etc/nsswitch.conf >/run/nsswitch.conf
mount --bind /run/nsswitch.conf /etc/nsswitch.conf
echo 1000000 >/proc/sys/net/ipv4/icmp_msgs_per_sec
echo 1000000 >/proc/sys/net/ipv4/icmp_msgs_burst
# The fallback devices of tunnels stay out of the cases' namespaces.
echo 1 >/proc/sys/net/core/fb_tunnels_only_for_init_net 2>/dev/null
echo "kernel $(uname -r) is up"
[ ! -s /run/modules.err ] || cat /run/modules.err
"$ORACLE" --guest "$ORACLE_LIST"
sync
poweroff -f
