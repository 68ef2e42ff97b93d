import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';

/** Answers what a client asks a Redis Sentinel, and says what the test wants: which server is the master. */
export class FakeSentinel {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  masterPort = 0;

  private constructor() {
    this.#server = createServer((socket) => {
      this.#sockets.add(socket);
      socket.on('error', () => undefined).on('close', () => this.#sockets.delete(socket));
      // Clients send each command at once, and small ones: no need to put pieces together.
      socket.on('data', (data: Buffer) => {
        for (const command of commandsIn(data.toString())) socket.write(this.#answer(command));
      });
    });
  }

  static async start(): Promise<FakeSentinel> {
    const sentinel = new FakeSentinel();
    await new Promise<void>((resolve) => sentinel.#server.listen(0, '127.0.0.1', resolve));
    return sentinel;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  async stop(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #answer([name = '', second = '', third = '']: readonly string[]): string {
    const word = name.toLowerCase();
    if (word === 'subscribe') return array([bulk('subscribe'), bulk(second), ':1\r\n']);
    if (word !== 'sentinel') return '+OK\r\n';
    if (second.toLowerCase() === 'get-master-addr-by-name')
      return third === 'shop' ? array([bulk('127.0.0.1'), bulk(String(this.masterPort))]) : '*-1\r\n';
    return '*0\r\n';
  }
}

/** Commands as arrays of words; each is `*N`, then `$LENGTH` and the word, N times. */
function commandsIn(text: string): string[][] {
  const commands: string[][] = [];
  const lines = text.split('\r\n');
  for (let i = 0; i < lines.length;) {
    const count = Number(/^\*(\d+)$/.exec(lines[i] ?? '')?.[1] ?? 0);
    if (count > 0) commands.push(Array.from({ length: count }, (_, word) => lines[i + 2 + 2 * word] ?? ''));
    i += 1 + 2 * count;
  }
  return commands;
}

function bulk(word: string): string {
  return `$${word.length}\r\n${word}\r\n`;
}

function array(items: readonly string[]): string {
  return `*${items.length}\r\n${items.join('')}`;
}
