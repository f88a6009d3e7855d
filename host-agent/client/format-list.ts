import type { ForwardList } from './api-client.ts';

const HEADINGS = ['SPEC', 'VM', 'OWNER', 'SINCE', 'ACTIVE', 'UP', 'DOWN'];
/** Only where a forward has one. */
const STATE = 'STATE';

/** The table that `portferry list` prints, a line for each forward that failed, and one for each VM whose link is down. */
export function formatList({ forwards, vms }: ForwardList): string {
  const published = forwards.filter(({ state }) => state !== 'failed');
  const withState = published.some(({ state }) => state !== undefined);
  const rows = published.map(({ spec, vm, owner, since, state, stats }) => [
    spec,
    vm,
    owner,
    since,
    String(stats.active ?? stats.flows ?? 0),
    formatBytes(stats.bytes_up ?? 0),
    formatBytes(stats.bytes_down ?? 0),
    ...(withState ? [state ?? ''] : []),
  ]);
  const headings = withState ? [...HEADINGS, STATE] : HEADINGS;
  const table = [headings, ...rows];
  const widths = headings.map((_, column) => Math.max(...table.map((row) => row[column]!.length)));
  const lines = table.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column]!))
      .join('  ')
      .trimEnd(),
  );
  const failed = forwards
    .filter(({ state }) => state === 'failed')
    .map(({ spec, vm, error }) => `not published: ${spec} (VM ${vm}): ${error?.message} [${error?.code}]`);
  const down = vms.filter(({ up }) => !up).map(({ name }) => `no link to VM ${name}`);
  return `${[...lines, ...failed, ...down].join('\n')}\n`;
}

function formatBytes(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let value = bytes;
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${unit === 0 ? value : value.toFixed(1)} ${units[unit]}`;
}
