import { execFileSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, readFileSync } from 'node:fs';
import { dirname, join, matchesGlob } from 'node:path';
import { type Copy, DockerfileParser, type From, type Instruction, type PropertyInstruction } from 'dockerfile-ast';
import { root } from '../../scripts/lib/tools.ts';
import { runToEnd } from '../kit/child.ts';

/** Those lines of our Dockerfile that decide what is in the image and how it runs. */
export interface ImageRecipe {
  readonly text: string;
  /** What the build stage does in its working folder, in order. */
  readonly steps: readonly Step[];
  /** The folder below the working folder that becomes /app. */
  readonly app: string;
  /** ENV of the image. */
  readonly env: Readonly<Record<string, string>>;
  readonly user: string;
}

type Step =
  | { readonly kind: 'context' }
  | { readonly kind: 'runtime node'; readonly to: string }
  | { readonly kind: 'run'; readonly command: string };

const RUNTIME_NODE = '/nodejs/bin/node';

export function readDockerfile(): ImageRecipe {
  const text = readFileSync(join(root, 'Dockerfile'), 'utf8');
  const stages = stagesOf(DockerfileParser.parse(text).getInstructions());
  const build = stages.get('build') ?? [];
  const last = [...stages.values()].at(-1) ?? [];
  const workdir = argumentsOf(build, 'WORKDIR')[0];
  const defaults = Object.fromEntries(build.filter((line) => line.getInstruction() === 'ARG').flatMap(propertiesOf));
  return {
    text,
    steps: build.flatMap((line) => stepOf(line, defaults)),
    app:
      copiesFrom(last, 'build')
        .find(({ to }) => to === '/app')
        ?.from.replace(`${workdir}/`, '') ?? '',
    env: Object.fromEntries(last.filter((line) => line.getInstruction() === 'ENV').flatMap(propertiesOf)),
    user: argumentsOf(last, 'USER')[0] ?? '',
  };
}

/** The instructions of each stage, by its name; the last one has none. */
function stagesOf(instructions: readonly Instruction[]): Map<string, Instruction[]> {
  const stages = new Map<string, Instruction[]>();
  let stage: Instruction[] = [];
  for (const line of instructions) {
    if (line.getInstruction() === 'FROM') stages.set((line as From).getBuildStage() ?? '', (stage = []));
    else stage.push(line);
  }
  return stages;
}

function stepOf(line: Instruction, defaults: Readonly<Record<string, string>>): Step[] {
  const words = line.getArguments().map((argument) => argument.getValue());
  const name = line.getInstruction();
  if (name === 'ARG' || name === 'WORKDIR') return [];
  if (name === 'RUN')
    return [
      { kind: 'run', command: words.join(' ').replaceAll(/\$\{(\w+)\}/g, (_, key: string) => defaults[key] ?? '') },
    ];
  if (name === 'COPY' && words.join(' ') === '. .') return [{ kind: 'context' }];
  const [copy] = name === 'COPY' ? copiesFrom([line], 'runtime') : [];
  if (copy?.from === RUNTIME_NODE) return [{ kind: 'runtime node', to: copy.to }];
  throw new Error(`the build stage has a line that the tests do not know how to do: ${name} ${words.join(' ')}`);
}

function copiesFrom(lines: readonly Instruction[], stage: string): { from: string; to: string }[] {
  return lines
    .filter((line) => line.getInstruction() === 'COPY')
    .filter((line) => (line as Copy).getFromFlag()?.getValue() === stage)
    .map((line) => line.getArguments().map((argument) => argument.getValue()))
    .map(([from = '', to = '']) => ({ from, to }));
}

function propertiesOf(line: Instruction): [string, string][] {
  const properties = (line as PropertyInstruction).getProperties();
  return properties.map((property) => [property.getName(), property.getValue() ?? '']);
}

function argumentsOf(lines: readonly Instruction[], name: string): string[] {
  return lines
    .filter((line) => line.getInstruction() === name)
    .map((line) =>
      line
        .getArguments()
        .map((argument) => argument.getValue())
        .join(' '),
    );
}

/** Does what the build stage says in `folder`, as `docker build` would with this checkout, and `node` in the base image. */
export async function runBuildStage(recipe: ImageRecipe, folder: string, node: string): Promise<void> {
  for (const step of recipe.steps) {
    if (step.kind === 'context') copyContext(folder);
    else if (step.kind === 'runtime node') copyTo(node, join(folder, step.to));
    else await runToEnd('/bin/sh', ['-c', step.command], { cwd: folder });
  }
}

/** Does the RUN lines again where `runBuildStage` was. */
export async function runAgain(recipe: ImageRecipe, folder: string): Promise<void> {
  for (const step of recipe.steps)
    if (step.kind === 'run') await runToEnd('/bin/sh', ['-c', step.command], { cwd: folder });
}

/** The files of the checkout that Git knows or would take, less what .dockerignore leaves out. */
function copyContext(folder: string): void {
  const listed = execFileSync('git', ['ls-files', '-z', '--cached', '--others', '--exclude-standard'], { cwd: root });
  const isIgnored = ignoreRules(readFileSync(join(root, '.dockerignore'), 'utf8'));
  for (const file of listed.toString().split('\0')) {
    if (file !== '' && existsSync(join(root, file)) && !isIgnored(file)) copyTo(join(root, file), join(folder, file));
  }
}

function copyTo(from: string, to: string): void {
  mkdirSync(dirname(to), { recursive: true });
  copyFileSync(from, to);
}

/** As docker reads .dockerignore: a pattern means a path or a folder above it, and the last one that matches counts. */
function ignoreRules(text: string): (file: string) => boolean {
  const lines = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  const rules = lines.map((line) => ({ isIgnored: !line.startsWith('!'), pattern: line.replace(/^!/, '') }));
  return (file) => {
    const parts = file.split('/');
    const paths = parts.map((_, index) => parts.slice(0, index + 1).join('/'));
    return rules.findLast(({ pattern }) => paths.some((path) => matchesGlob(path, pattern)))?.isIgnored ?? false;
  };
}
