import { type HostRunRow, row } from "./row.ts";

/**
 * Folders and files by which version control finds a repository, whose configuration it then
 * obeys. No step leaves one, whatever policy says. Git's own, which need not be named `.git`, are
 * judged by what a folder holds: see `tree-judgement.ts`.
 */
export const REPOSITORY_ROWS: readonly HostRunRow[] = [
  row(
    "Mercurial and Sapling",
    ".hg/** .sl/**",
    "hgrc and config hold hooks, aliases and extensions, which a prompt's status starts.",
    "https://www.mercurial-scm.org/help/topics/config",
  ),
  row(
    "Jujutsu",
    ".jj/**",
    "Its configuration names programs.",
    "https://jj-vcs.github.io/jj/latest/config/",
  ),
  row(
    "Subversion and CVS",
    ".svn/** _svn/** CVS/Root CVS/Entries CVS/Repository CVSROOT/**",
    "A working copy names a server's address, which can name a program.",
    "https://svnbook.red-bean.com/",
  ),
  row(
    "Bazaar and Breezy",
    ".bzr/**",
    "Branch configuration and hooks.",
    "https://www.breezy-vcs.org/doc/en/user-guide/",
  ),
  row(
    "Darcs and Pijul",
    "_darcs/** .pijul/**",
    "Preferences hold commands that run before and after others.",
    "https://darcs.net/manual/",
  ),
  row(
    "Fossil and Monotone",
    "_FOSSIL_ .fslckout .fos .fossil-settings/** _MTN/**",
    "Settings name programs; Monotone runs Lua.",
    "https://fossil-scm.org/home/doc/trunk/www/settings.wiki",
  ),
  row(
    "repo and Game of Trees",
    ".repo/** .got/**",
    "repo finds .repo upwards and runs .repo/repo/main.",
    "https://gerrit.googlesource.com/git-repo/",
  ),
];
