/** What the containers of dockerd and podman run: HTTP on port 80, and an echo of datagrams on port 5353. */
import { createSocket } from 'node:dgram';
import { createServer } from 'node:http';

createServer((_request, response) => response.end('hello from the container\n')).listen(80);
const udp = createSocket('udp4');
udp.on('message', (payload, from) => udp.send(payload, from.port, from.address));
udp.bind(5_353);
process.once('SIGTERM', () => process.exit(0));
