import type { End, EndHandler } from '../../shared/relay/end.ts';

/** An end that records what is written to it. */
export function fakeEnd() {
  const written: Buffer[] = [];
  const calls: string[] = [];
  let handler: EndHandler | undefined;
  const end: End & { backlog: number } = {
    attach: (given) => {
      handler = given;
    },
    accept() {},
    refuse() {},
    write: (chunk) => written.push(chunk) > 0,
    end: () => void calls.push('end'),
    reset: (reason) => {
      calls.push(`reset ${reason.code}`);
      handler?.closed();
    },
    pause() {},
    resume: () => void calls.push('resume'),
    backlog: 0,
  };
  return { end, written, calls, handler: () => handler! };
}
