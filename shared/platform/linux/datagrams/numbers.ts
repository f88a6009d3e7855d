/** Numbers of ip(7), ipv6(7), udp(7) and socket(7) that only datagrams need; alike on x86-64 and arm64. */

export const SOCK_DGRAM = 2;

export const SO_SNDBUF = 7;
export const SO_RCVBUF = 8;
/** Beyond net.core.wmem_max and rmem_max, for those with CAP_NET_ADMIN. */
export const SO_SNDBUFFORCE = 32;
export const SO_RCVBUFFORCE = 33;
/** u32 figures of a socket's memory; the last is what it dropped (SK_MEMINFO_DROPS of linux/sock_diag.h). */
export const SO_MEMINFO = 55;
export const SK_MEMINFO_DROPS = 8;
export const SK_MEMINFO_VARS = 9;

export const IPPROTO_IP = 0;
export const IP_PKTINFO = 8;
export const IPPROTO_IPV6 = 41;
export const IPV6_RECVPKTINFO = 49;
export const IPV6_PKTINFO = 50;
export const IPPROTO_UDP = 17;
/** Linux 4.18: one message is cut into datagrams of this size, by the kernel or the device. */
export const UDP_SEGMENT = 103;

export const MSG_TRUNC = 0x20;
export const MSG_DONTWAIT = 0x40;
