# One static program and its names. scripts/image lays out rootfs.tar and builds this.
FROM scratch
ADD rootfs.tar /
ENTRYPOINT ["/usr/sbin/ulvs"]
CMD ["run", "--config", "/etc/ulvs/ulvs.toml"]
