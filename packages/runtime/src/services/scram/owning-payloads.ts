/**
 * Payloads in Perl that own as much as they are let of something that their death has to take apart,
 * say so in `/out/ready`, and wait.
 */

const READY = `open my $ready, ">", "/out/ready"; close $ready; sleep 1000;`;

/** A system call by its number: on x86-64, on arm64. */
const call = (x64: number, arm64: number): string =>
  `syscall(${process.arch === "x64" ? x64 : arm64}`;

/** `count` processes that each do it and say so; the first waits for all. */
const each = (count: number, work: string): string => `pipe my $r, my $w;
  for my $p (1..${count}) { my $pid = fork; last unless defined $pid;
    if (!$pid) { ${work} syswrite $w, "."; sleep 1000; exit } }
  my $seen = 0; while ($seen < ${count}) { $seen += sysread $r, my $got, 100 } ${READY}`;

export const OWNING = {
  files: `for my $d ("/tmp", "/dev/shm") { my $i = 0; $i++ while open my $f, ">", "$d/f$i" } ${READY}`,
  // Every other page has other rights, and so is a mapping of its own; each child has all of them too.
  mappings: `my $n = 20000; my $at = ${call(9, 222)}, 0, $n * 8192, 0, 0x4022, -1, 0);
    for (1..$n - 1) { last if ${call(10, 226)}, $at + $_ * 8192, 4096, 1) } ${each(7, "")}`,
  epolls: each(
    1,
    `my @t = map { ${call(290, 19)}, 0, 0) } 1..500; my $ev = pack("LQ", 1, 0);
     for (1..200) { my $e = ${call(291, 20)}, 0); ${call(233, 21)}, $e, 1, $_, $ev) for @t }`,
  ),
} as const;

export type Owned = keyof typeof OWNING;
export const OWNED_KINDS = Object.keys(OWNING) as readonly Owned[];
