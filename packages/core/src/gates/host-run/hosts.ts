import { type HostRunRow, row } from "./row.ts";

/** Services that build, test or deploy what is pushed, and what runs around a commit. */
export const HOST_ROWS: readonly HostRunRow[] = [
  row(
    "GitHub Actions",
    ".github/workflows/** .github/actions/** action.yml action.yaml",
    "Workflows and actions run on a push with the repository's secrets.",
    "https://docs.github.com/actions/reference/workflows-and-actions/workflow-syntax",
  ),
  row(
    "GitHub Copilot",
    ".github/hooks/** .github/agents/** .github/instructions/** .github/prompts/** .github/chatmodes/** .github/skills/** .github/copilot-*",
    "Hooks run commands; the other files instruct an agent that does.",
    "https://docs.github.com/copilot/customizing-copilot",
  ),
  row(
    "GitLab CI",
    ".gitlab-ci.yml .gitlab-ci.yaml .gitlab/ci/** .gitlab/duo/**",
    "Jobs run on a push with the project's variables.",
    "https://docs.gitlab.com/ci/yaml/",
  ),
  row(
    "Forgejo and Gitea Actions",
    ".forgejo/** .gitea/**",
    "Workflows run on a push.",
    "https://forgejo.org/docs/latest/user/actions/",
  ),
  row(
    "Azure Pipelines",
    "azure-pipelines*.yml azure-pipelines*.yaml .azure-pipelines/**",
    "Pipelines run on a push.",
    "https://learn.microsoft.com/azure/devops/pipelines/yaml-schema/",
  ),
  row(
    "Bitbucket Pipelines",
    "bitbucket-pipelines.yml bitbucket-pipelines.yaml",
    "Pipelines run on a push.",
    "https://support.atlassian.com/bitbucket-cloud/docs/bitbucket-pipelines-configuration-reference/",
  ),
  row(
    "CircleCI, Travis CI, AppVeyor, Cirrus CI, Codeship",
    ".circleci/** .travis.yml .travis.yaml .travis.star appveyor.yml appveyor.yaml .appveyor.yml .appveyor.yaml .cirrus.yml .cirrus.yaml .cirrus.star .codeship.yml .codeship.yaml codeship-*.yml",
    "Jobs run on a push.",
    "https://circleci.com/docs/configuration-reference/",
  ),
  row(
    "Jenkins",
    "Jenkinsfile Jenkinsfile.* *.Jenkinsfile .jenkins/**",
    "Pipelines run on a push.",
    "https://www.jenkins.io/doc/book/pipeline/jenkinsfile/",
  ),
  row(
    "Buildkite, Drone, Woodpecker, Vela, Semaphore, TeamCity",
    ".buildkite/** .drone.yml .drone.yaml .drone.jsonnet .drone.star .woodpecker* .woodpecker*/** .vela.yml .vela.yaml .vela.star .semaphore/** .teamcity/**",
    "Pipelines run on a push.",
    "https://woodpecker-ci.org/docs/usage/workflow-syntax",
  ),
  row(
    "Zuul",
    ".zuul.yaml zuul.yaml .zuul.d/** zuul.d/**",
    "Jobs run on a change.",
    "https://zuul-ci.org/docs/zuul/latest/project-config.html",
  ),
  row(
    "Cloud builders",
    "buildspec*.yml buildspec*.yaml cloudbuild*.yml cloudbuild*.yaml cloudbuild*.json amplify.yml appspec.yml appspec.yaml .ebextensions/** .platform/** codemagic.yml codemagic.yaml wercker.yml wercker.yaml wercker.json bitrise.yml bitrise.yaml",
    "Commands run where the service builds or deploys what was pushed.",
    "https://docs.aws.amazon.com/codebuild/latest/userguide/build-spec-ref.html",
  ),
  row(
    "Hosts of web sites and applications",
    "netlify.toml vercel.json .vercel/** render.yaml railway.json railway.toml nixpacks.toml fly.toml Procfile Procfile.* heroku.yml .platform.app.yaml .upsun/** .lagoon.yml wrangler.toml wrangler.json wrangler.jsonc .readthedocs.yml .readthedocs.yaml readthedocs.yml",
    "Build and start commands run where the service deploys what was pushed.",
    "https://docs.netlify.com/build/configure-builds/file-based-configuration/",
  ),
  row(
    "Other builders",
    ".build.yml .build.yaml .build.star .builds/** .ci/** .tekton/** .harness/** .copr/** .packit.yml .packit.yaml packit.yaml .obs/** .prow.yaml .prow/** .ci-operator.yaml .onedev-buildspec.yml .evergreen.yml evergreen.yml screwdriver.yaml shippable.yml .scrutinizer.yml .agola/** .spacelift/** atlantis.yaml .werft/**",
    "Jobs run on a push or on a proposed change.",
    "https://man.sr.ht/builds.sr.ht/manifest.md",
  ),
  row(
    "Docker Hub builds",
    "hooks/build hooks/push hooks/test hooks/pre_* hooks/post_*",
    "Build hooks run on a push; cookiecutter runs pre_ and post_ hooks of a template.",
    "https://docs.docker.com/docker-hub/repos/manage/builds/advanced/",
  ),
  row(
    "git hooks in the tree",
    "hooks/*-commit hooks/pre-* hooks/post-* hooks/commit-msg hooks/prepare-commit-msg hooks/applypatch-msg hooks/update hooks/fsmonitor* hooks/push-to-checkout hooks/proc-receive hooks/reference-transaction hooks/sendemail-validate hooks/p4-* hooks/hooks.json .hooks/** githooks/** git-hooks/**",
    "Run by git where core.hooksPath names the folder, by habit of many projects.",
    "https://git-scm.com/docs/githooks",
  ),
  row(
    "pre-commit",
    ".pre-commit-config.yaml .pre-commit-config.yml .pre-commit-hooks.yaml .pre-commit-hooks.yml prek.toml",
    "Its entries run on a commit.",
    "https://pre-commit.com/",
  ),
  row(
    "Husky, lint-staged, commitlint",
    ".husky/** .huskyrc* husky.config.* .lintstagedrc* lint-staged.config.* .commitlintrc* commitlint.config.* .simple-git-hooks.* simple-git-hooks.*",
    "Hooks and their configurations run on a commit.",
    "https://typicode.github.io/husky/",
  ),
  row(
    "Lefthook",
    "lefthook.* .lefthook.* lefthook-local.* .lefthook-local.* .lefthook/** .lefthook-local/**",
    "Its commands run on a commit.",
    "https://lefthook.dev/configuration/",
  ),
  row(
    "Overcommit, CaptainHook, GrumPHP, cargo-husky",
    ".overcommit.yml .overcommit/** .git-hooks/** captainhook.json grumphp.yml grumphp.yml.dist .cargo-husky/**",
    "Their hooks run on a commit.",
    "https://github.com/sds/overcommit",
  ),
  row(
    "Dev Containers and cloud workspaces",
    ".devcontainer/** .devcontainer.json devfile.yaml .devfile.yaml .codesandbox/** .stackblitzrc .replit replit.nix .ona/** .binder/**",
    "Commands run when the folder is opened; initializeCommand runs on the user's own machine.",
    "https://containers.dev/implementors/json_reference/",
  ),
];
