#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""tidy.py: the house rules that a program can check. Prints `file:line: message`, exits 1 when there is any.

    tests/tidy.py                   check the tree (and itself first)
    tests/tidy.py --self-test       only itself: each rule is shown a sample that breaks it
    tests/tidy.py --write-sources   bring the source lists in meson.build and the map in src/README.md up to date

A line that has a good reason to break a rule says so in its comment: `tidy-allow: reason`. Functions of more than 100 lines
are noted but do not fail.
"""
import pathlib
import re
import subprocess
import sys
import tempfile

LAYERS = ["base", "os", "format", "region", "store", "index", "model", "engine", "api"]
FACES = {"uv": {"uv"}, "cli": {"cli"}, "mcp": {"mcp", "cli"}}  # the MCP server and the hooks are sub-commands of the command
LENT = {"base/atomic.h", "base/json.h", "base/utf8.h"}  # of the library's inside, what the command compiles once more for itself
GENERATED = {"error_table.inc"}
COLUMNS = 140
FUNCTION_LINES = 100
ALLOW = "tidy-allow:"

SYSTEM_CALLS = """open openat open64 creat close read write pread pwrite pread64 pwrite64 readv writev preadv pwritev lseek
    fsync fdatasync msync sync_file_range fallocate posix_fallocate ftruncate truncate flock fcntl ioctl lockf
    mmap munmap mremap madvise mlock shm_open shm_unlink memfd_create link linkat unlink unlinkat rename renameat
    mkdir mkdirat rmdir opendir fdopendir readdir stat fstat lstat fstatat statfs fstatfs statvfs chmod fchmod chown fchown
    fopen fdopen fread fwrite fclose getpid getppid gettid geteuid getuid fork vfork execve kill raise signal sigaction
    sigprocmask time gettimeofday clock_gettime nanosleep usleep sleep getrandom syscall poll select epoll_wait eventfd
    eventfd_read eventfd_write""".split()
# Threads run where work is shared: the engine and the functions on top of it; store/ locks its table of mappings, which they share.
THREADS_IN = {"engine", "api", "os", "store"}

SYSTEM_CALL = re.compile(r"(?<![\w.>])(" + "|".join(SYSTEM_CALLS) + r")\s*\(")
MEMORY_ORDER = re.compile(r"__atomic_|__sync_|\bmemory_order|\bvolatile\b|\b_Atomic\b|stdatomic")
# Functions whose answer lies in a buffer that all threads share, or that change what all threads read.
THREAD_UNSAFE = """asctime basename ctime dirname getgrgid getgrnam getlogin getpwnam getpwuid gmtime localtime putenv rand setenv
    setlocale srand strsignal strtok tmpnam ttyname unsetenv""".split()
THREAD_UNSAFE_CALL = re.compile(r"(?<![\w.>])(" + "|".join(THREAD_UNSAFE) + r")\s*\(")
SLEEP = re.compile(r"(?<!->)\b(?:u|nano)?sleep\s*\(")
SHELL_SLEEP = re.compile(r"(?:^|[;&|]|\bdo|\bthen)\s*sleep\s+[\d.$]")
UNFINISHED = re.compile(r"\b(?:TO" r"DO|FIX" r"ME|XX" r"X)\b")
OWN_PATH = re.compile(r"(?<![\w.])/(?:work|Users)/|(?<![\w.])/home/(?!(?:you|user|agent)/)\w+/|\.py" r"env/")
HOST = re.compile(r"https?://(?:[\w.-]*\b(?:registry|artifactory|nexus|mirror|proxy|internal|localhost)\b|127\.|10\.|192\.168\.)[\w.:-]*")

C_KINDS = {".c", ".h"}
CODE_KINDS = C_KINDS | {".py", ".sh", ".pml", ".js", ".ts", ".mjs"}
SCRIPT_NAMES = {"dev", "run", "meson.build", "meson_options.txt"}


def files_of(root):
    """Paths below root, as git sees the tree (tracked and new, not the ignored); without git, all but build folders."""
    if (root / ".git").exists():
        try:
            done = subprocess.run(["git", "-c", "safe.directory=*", "-C", str(root), "ls-files", "-z", "--cached", "--others",
                                   "--exclude-standard"], capture_output=True, check=True)
            names = done.stdout.decode().split("\0")
            return sorted({name for name in names if name and (root / name).is_file()})
        except (OSError, subprocess.CalledProcessError):
            pass
    found = []
    for path in root.rglob("*"):
        parts = path.relative_to(root).parts
        if path.is_file() and not any(part.startswith("build") or part in (".git", "__pycache__", "node_modules") for part in parts):
            found.append("/".join(parts))
    return sorted(found)


def without_comments(text):
    """C without comments and contents of strings; lines stay where they are."""
    def blank(match):
        token = match.group(0)
        if token[0] in "\"'":
            return token[0] + " " * (len(token) - 2) + token[0]
        return re.sub(r"[^\n]", " ", token)
    return re.sub(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', blank, text, flags=re.S)


class Tidy:
    def __init__(self, root):
        self.root = root
        self.findings = []
        self.notes = []

    def find(self, name, line, message):
        self.findings.append(f"{name}:{line}: {message}")

    def run(self):
        names = files_of(self.root)
        for name in names:
            data = (self.root / name).read_bytes()
            if b"\0" in data:
                continue
            try:
                text = data.decode("utf-8")
            except UnicodeDecodeError:
                continue
            self.check_file(name, text)
        self.check_sources(names)
        return not self.findings

    def check_file(self, name, text):
        path = pathlib.PurePosixPath(name)
        is_c = path.suffix in C_KINDS
        is_code = path.suffix in CODE_KINDS or path.name in SCRIPT_NAMES
        lines = text.split("\n")
        allowed = {number for number, line in enumerate(lines, 1) if ALLOW in line}
        if is_code:
            self.check_head(name, lines)
            self.check_lines(name, lines)
        self.check_words(name, lines, allowed)
        if is_c:
            code = without_comments(text).split("\n")
            self.check_functions(name, code)
            if path.parts[0] == "src" and len(path.parts) > 2:
                self.check_includes(name, path.parts[1], lines)
                self.check_calls(name, path.parts[1], code, allowed)
                for number, line in enumerate(code, 1):
                    match = THREAD_UNSAFE_CALL.search(line)
                    if match and number not in allowed:
                        self.find(name, number, f"{match.group(1)}() is not safe in a process with threads: take the kind that is")
        if path.parts[0] == "tests":
            code = without_comments(text).split("\n") if is_c else lines
            for number, line in enumerate(code, 1):
                pattern = SHELL_SLEEP if path.suffix == ".sh" else SLEEP
                if is_code and number not in allowed and pattern.search(line):
                    self.find(name, number, "a test sleeps: wait for the event with a deadline")

    def check_head(self, name, lines):
        head = "\n".join(lines[:3])
        if "SPDX-License-Identifier: MIT" not in head:
            self.find(name, 1, "no SPDX line at the top")
            return
        # Words beyond the SPDX line, within the first comment: at least one line of them.
        rest = [line.strip(" \t*#/\"'") for line in lines[:8] if "SPDX-" not in line and not line.startswith("#!")]
        if not any(re.search(r"\w+ \w+", line) and not re.match(r"(import|include|define|ifndef|set) ", line) for line in rest[:4]):
            self.find(name, 1, "no head comment: say what the file is")

    def check_lines(self, name, lines):
        for number, line in enumerate(lines, 1):
            if len(line) > COLUMNS:
                self.find(name, number, f"{len(line)} columns, the limit is {COLUMNS}")
            if "\t" in line:
                self.find(name, number, "a tab")
            if line != line.rstrip():
                self.find(name, number, "blanks at the end of the line")
        if lines[-1] != "":
            self.find(name, len(lines), "no newline at the end")
        elif len(lines) > 2 and lines[-2] == "":
            self.find(name, len(lines) - 1, "empty line at the end")

    def check_words(self, name, lines, allowed):
        for number, line in enumerate(lines, 1):
            if number in allowed:
                continue
            if UNFINISHED.search(line):
                self.find(name, number, "unfinished work is marked here: do it, or drop the mark")
            if OWN_PATH.search(line) and not name.startswith("tests/golden/"):
                self.find(name, number, "a path of somebody's own machine: " + OWN_PATH.search(line).group(0))
            if HOST.search(line):
                self.find(name, number, "a host of somebody's own network: " + HOST.search(line).group(0))

    def check_functions(self, name, code):
        start = None
        for number, line in enumerate(code, 1):
            if line.rstrip() == "{":
                start = number
            elif line.startswith("}") and start is not None:
                if number - start - 1 > FUNCTION_LINES:
                    self.notes.append(f"{name}:{start}: note: a function of {number - start - 1} lines")
                start = None

    def check_includes(self, name, folder, lines):
        for number, line in enumerate(lines, 1):
            match = re.match(r'\s*#\s*include\s+"([^"]+)"', line)
            if not match:
                continue
            target = match.group(1)
            if target in GENERATED:
                continue
            first = target.split("/")[0]
            if folder in FACES and "/" not in target and (self.root / "src" / folder / target).is_file():
                continue
            if "/" not in target or ".." in target:
                self.find(name, number, f'include "{target}": write the path from src/ on, or <...> for what is not Roost\'s own')
            elif folder in FACES:
                if first not in FACES[folder] and not (target in LENT and folder != "uv"):
                    self.find(name, number, f'include "{target}": src/{folder} uses the public API only')
            elif first not in LAYERS:
                self.find(name, number, f'include "{target}": no such layer below src/{folder}')
            elif folder in LAYERS and LAYERS.index(first) > LAYERS.index(folder):
                self.find(name, number, f'include "{target}": {first} is a higher layer than {folder}')

    def check_calls(self, name, folder, code, allowed):
        if folder not in LAYERS:
            return
        own = set(re.findall(r"^static [^;=(]*?\b(\w+)\(", "\n".join(code), re.M))
        for number, line in enumerate(code, 1):
            if number in allowed:
                continue
            if name != "src/base/atomic.h" and MEMORY_ORDER.search(line):
                self.find(name, number, f"{MEMORY_ORDER.search(line).group(0)}: memory orders are spelled in base/atomic.h only")
            if folder in ("base", "os"):
                continue
            for match in SYSTEM_CALL.finditer(line):
                if match.group(1) not in own:
                    self.find(name, number, f"{match.group(1)}(): system calls go through os/os.h")
            if folder not in THREADS_IN and "pthread_" in line:
                self.find(name, number, "threads belong to the engine and the layers above")

    def check_sources(self, names):
        build = [name for name in names if pathlib.PurePosixPath(name).name == "meson.build"]
        listed = set()
        for name in build:
            folder = str(pathlib.PurePosixPath(name).parent)
            text = re.sub(r"#[^\n]*", "", (self.root / name).read_text(encoding="utf-8"))
            for source in re.findall(r"'([\w./-]+\.c)'", text):
                listed.add(source if folder == "." else f"{folder}/{source}")
        present = {name for name in names if name.startswith("src/") and name.endswith(".c")}
        for name in sorted(present - listed):
            self.find(name, 1, "not in meson.build (tests/tidy.py --write-sources)")
        for name in sorted(name for name in listed - present if name.startswith("src/")):
            self.find("meson.build", 1, f"lists {name}, which is not there")
        readme = self.root / "src" / "README.md"
        if readme.is_file() and file_map(self.root, names) not in readme.read_text(encoding="utf-8"):
            self.find("src/README.md", 1, "the map is not what the files' heads say (tests/tidy.py --write-sources)")


def head_sentence(path):
    """What a file says about itself: the first sentence of its head comment, after its name."""
    text = re.search(r"/\*.*?\*/", path.read_text(encoding="utf-8", errors="replace"), re.S)
    words = re.split(r"\n \*\s*\n(?!\s*$)", text.group(0)[2:-2].replace("MIT\n *\n", "MIT\n"))[0] if text else "" # its first paragraph
    words = re.sub(r"\s*\n \* ?", " ", words)
    words = re.sub(r"^\s*SPDX-License-Identifier: MIT\s*", "", words)
    words = re.sub(r"^[\w./-]+\.[ch]:\s*", "", words)
    sentence = re.split(r"(?<=\w\w)[.](?:\s|$)|(?<=\))[.](?:\s|$)|:\s*$", words + " ", maxsplit=1)[0]
    return re.sub(r" \((?:layer \d|layers [\d, and-]+)\)", "", sentence).strip().rstrip(".")


def file_map(root, names):
    """The lines between the markers of src/README.md."""
    parts = []
    for number, layer in enumerate(LAYERS + list(FACES)):
        own = [name for name in names if name.startswith(f"src/{layer}/") and name.endswith((".c", ".h"))]
        if own:
            parts.append(f"\n### {min(number, len(LAYERS))} {layer}\n\n")
            parts += [f"- `{name.removeprefix(f'src/{layer}/')}` {head_sentence(root / name)}\n" for name in own]
    return "".join(parts)


def write_sources(root):
    """Writes the lists between the markers in meson.build, and the map in src/README.md, from what is there."""
    readme = root / "src" / "README.md"
    if readme.is_file():
        text = readme.read_text(encoding="utf-8")
        begin, end = "<!-- map: begin -->\n", "<!-- map: end -->\n"
        before, rest = text.split(begin)
        new = before + begin + file_map(root, files_of(root)) + "\n" + end + rest.split(end)[1]
        if new != text:
            readme.write_text(new, encoding="utf-8")
    path = root / "meson.build"
    text = path.read_text(encoding="utf-8")
    names = [name for name in files_of(root) if name.startswith("src/") and name.endswith(".c")]
    parts = []
    for layer in LAYERS + list(FACES):
        own = [name for name in names if name.split("/")[1] == layer]
        if own:
            parts.append(f"{layer}_sources = files(\n" + "".join(f"  '{name}',\n" for name in own) + ")\n")
        else:
            parts.append(f"{layer}_sources = []\n")
    new = re.sub(r"(# sources: begin\n).*?(# sources: end\n)", lambda match: match.group(1) + "".join(parts) + match.group(2), text,
                 flags=re.S)
    if new != text:
        path.write_text(new, encoding="utf-8")


# ---- itself -----------------------------------------------------------------------------------------------------------

HEAD = "/* SPDX-License-Identifier: MIT\n * a.c: a sample for the self-test (layer 4). */\n"
CLEAN = {
    "meson.build": "# SPDX-License-Identifier: MIT\n# meson.build: a sample\nfiles('src/store/a.c')\n",
    "src/store/a.c": HEAD + '#include "store/a.h"\n\n#include "base/check.h"\n/* open( is only a word here; volatile too */\n'
    "static int link(int a)\n{\n    return rst_os->open(a) + link(a);\n}\n",
    "src/store/a.h": HEAD,
    "src/cli/a.h": HEAD + '#include "cli/b.h"\n',
    "tests/a.py": '# SPDX-License-Identifier: MIT\n"""a.py: a sample of a test."""\n',
}
# name of the rule: (file, content, part of the message)
SAMPLES = {
    "layer": ("src/store/a.c", HEAD + '#include "engine/x.h"\n', "higher layer"),
    "own folder": ("src/store/a.c", HEAD + '#include "a.h"\n', "path from src/"),
    "unknown folder": ("src/store/a.c", HEAD + '#include "cli/x.h"\n', "no such layer"),
    "face": ("src/cli/a.h", HEAD + '#include "base/check.h"\n', "public API only"),
    "unlisted source": ("src/store/b.c", HEAD, "not in meson.build"),
    "absent source": ("meson.build", CLEAN["meson.build"] + "files('src/store/c.c')\n", "not there"),
    "SPDX": ("src/store/a.c", "/* a.c: a sample */\n", "SPDX"),
    "head comment": ("src/store/a.c", "/* SPDX-License-Identifier: MIT */\n#include <stdio.h>\n", "head comment"),
    "columns": ("src/store/a.c", HEAD + "/* " + "x" * COLUMNS + " */\n", "columns"),
    "tab": ("src/store/a.c", HEAD + "\tint a;\n", "a tab"),
    "trailing blank": ("src/store/a.c", HEAD + "int a; \n", "blanks at the end"),
    "final newline": ("src/store/a.c", HEAD + "int a;", "no newline"),
    "memory order": ("src/store/a.c", HEAD + "int a(void) { return __atomic" + "_load_n(b, 0); }\n", "memory orders"),
    "volatile": ("src/base/a.h", HEAD + "extern volatile int a;\n", "memory orders"),
    "system call": ("src/store/a.c", HEAD + "int a(void) { return open(b, 0); }\n", "system calls"),
    "thread-unsafe": ("src/cli/a.h", HEAD + "struct tm *a(void) { return localtime(b); }\n", "not safe in a process with threads"),
    "threads": ("src/format/a.c", HEAD + "int a(void) { return pthread_self(); }\n", "threads belong"),
    "sleeping test": ("tests/a.py", CLEAN["tests/a.py"] + "time.sleep" + "(1)\n", "a test sleeps"),
    "sleeping script": ("tests/a.sh", "# SPDX-License-Identifier: MIT\n# a.sh: a sample of a test\nx; sleep" + " 1\n", "a test sleeps"),
    "unfinished": ("README.md", "TO" + "DO: write it\n", "unfinished"),
    "own path": ("README.md", "see /wo" + "rk/x\n", "own machine"),
    "own host": ("README.md", "from https://regis" + "try.example/x\n", "own network"),
}


def findings_of(files):
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        for name, text in files.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text, encoding="utf-8")
        tidy = Tidy(root)
        tidy.run()
        return tidy


def self_test():
    failed = 0
    clean = findings_of(CLEAN)
    if clean.findings:
        print("self-test: the clean sample is reported:", *clean.findings, sep="\n  ")
        failed += 1
    for rule, (name, text, message) in SAMPLES.items():
        findings = findings_of({**CLEAN, name: text}).findings
        if not any(finding.startswith(name + ":") and message in finding for finding in findings):
            print(f"self-test: rule '{rule}' does not report its sample: {findings}")
            failed += 1
        allowed = findings_of({**CLEAN, name: text.replace("\n", " /* tidy-allow: sample */\n")}).findings
        if rule in ("memory order", "system call", "threads", "own path") and any(message in finding for finding in allowed):
            print(f"self-test: rule '{rule}' does not heed tidy-allow")
            failed += 1
    long = findings_of({**CLEAN, "src/store/a.c": HEAD + "int a(void)\n{\n" + "    a();\n" * (FUNCTION_LINES + 1) + "}\n"})
    if not long.notes:
        print("self-test: a long function is not noted")
        failed += 1
    return failed == 0


def main():
    root = pathlib.Path(__file__).resolve().parent.parent
    if "--write-sources" in sys.argv[1:]:
        write_sources(root)
        return 0
    if not self_test():
        return 1
    if "--self-test" in sys.argv[1:]:
        return 0
    tidy = Tidy(root)
    tidy.run()
    for line in tidy.notes + tidy.findings:
        print(line)
    return 1 if tidy.findings else 0


if __name__ == "__main__":
    sys.exit(main())
