/** What cases start in the guest beside the shim. */
import { matches } from '../cases.ts';
import type { Containers } from '../guest/containers.ts';
import type { SerialPair } from './serial-pair.ts';

const FOLDER = '/tmp/containers';
/** Where the containers tell what they have seen. */
export const SEEN_SOCKET = `${FOLDER}/seen.sock`;

/** Stand-in containers. */
export async function startContainers(pair: SerialPair): Promise<Containers> {
  const { shell } = pair;
  await shell.must(`mkdir -p ${FOLDER}`);
  const answer = `${FOLDER}/ports`;
  const pid = await pair.startInGuest(`node dist/test/vm/guest/containers.js ${FOLDER}`, answer);
  await pair.untilSaid(answer, 'unixEcho', pid);
  return JSON.parse(await shell.must(`cat ${answer}`)) as Containers;
}

const HOLD = 'mkdir "$1" && exec 3<>"$1/ctl" && printf %s "$2" >&3 && cat "$1/ctl" && exec sleep 9999';

/**
 * Leaves a process in the guest that holds a forward as a shell can, in the tree that is mounted at /port.
 * @returns the resolved spec, and the pid of the process in the guest
 */
export async function hold(
  pair: SerialPair,
  name: string,
  spec: string,
): Promise<{ claimed: string; holder: string }> {
  const { shell } = pair;
  await shell.must(`cat >/tmp/hold <<'END'\n${HOLD}\nEND`);
  const log = `/tmp/hold-${name}`;
  const holder = await pair.startInGuest(`sh /tmp/hold /port/${name} '${spec}'`, log);
  await pair.untilSaid(log, 'OK', holder);
  const answer = await shell.must(`cat ${log}`);
  matches(answer, /^OK tcp:127\.0\.0\.1:\d+:tcp:127\.0\.0\.1:\d+$/, 'the answer');
  return { claimed: answer.slice('OK '.length), holder };
}
