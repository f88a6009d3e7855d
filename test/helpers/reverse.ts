import { callApi } from './api.ts';

/** A loopback port of the host, published at a loopback port of the VM, any free one unless told. */
export function reverseSpec(service: number, port = 0): string {
  return `reverse:tcp:127.0.0.1:${service}:tcp:127.0.0.1:${port}`;
}

/** Publishes in the VM; answers the resolved spec and its port there. */
export async function exposeReverse(
  { api }: { readonly api: string },
  spec: string,
): Promise<{ spec: string; port: number }> {
  const { status, body } = await callApi(api, 'POST', { spec });
  if (status !== 201) throw new Error(`expose ${spec} failed: ${JSON.stringify(body)}`);
  const resolved = (body as { spec: string }).spec;
  return { spec: resolved, port: Number(resolved.split(':').at(-1)) };
}
