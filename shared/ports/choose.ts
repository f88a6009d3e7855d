/** How a link-local address names its interface: by name, or on Windows by number (libuv, uv_ip6_addr). */
export function zoneKind(platform: NodeJS.Platform = process.platform): 'name' | 'number' {
  return platform === 'win32' ? 'number' : 'name';
}
