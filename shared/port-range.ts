/** Ports in a row, both ends included; a single port is a range of one. */
export interface PortRange {
  readonly first: number;
  readonly last: number;
}

export function onePort(port: number): PortRange {
  return { first: port, last: port };
}

/** `count` ports from `first` on. */
export function portsFrom(first: number, count: number): PortRange {
  return { first, last: first + count - 1 };
}

export function portCount({ first, last }: PortRange): number {
  return last - first + 1;
}

/** `8080` or `8000-8099`. */
export function formatPorts({ first, last }: PortRange): string {
  return first === last ? String(first) : `${first}-${last}`;
}
