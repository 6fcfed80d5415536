"""A script by which a shell completes verbs, their arguments and the keys of a config."""

from collections.abc import Collection, Mapping, Sequence

_BASH = """# bash: pocketeva completion > ~/.local/share/bash-completion/completions/pocketeva
# zsh:  put this in ~/.zshrc: autoload -U +X bashcompinit && bashcompinit && eval "$(pocketeva completion)"
_pocketeva() {{
    local current="${{COMP_WORDS[COMP_CWORD]}}" words="" word
    COMPREPLY=()
    if [ "$COMP_CWORD" -eq 1 ]; then
        words="{verbs} --help --version"
    else
        case "${{COMP_WORDS[1]}}" in
{cases}
        esac
        case "${{COMP_WORDS[1]}}" in
            {with_config}) words="$words {keys}" ;;
        esac
        # Most arguments are files: other words are offered once something of them is there.
        [ -n "$current" ] || words=""
    fi
    for word in $words; do
        case "$word" in "$current"*) COMPREPLY+=("$word") ;; esac
    done
}}
complete -o default -F _pocketeva pocketeva
"""

_BASH_CASE = '            {verb}) words="{words}" ;;'

_FISH = """# fish: pocketeva completion fish > ~/.config/fish/completions/pocketeva.fish
complete -c pocketeva -n __fish_use_subcommand -f -a "{verbs} --help --version"
{cases}
complete -c pocketeva -n "__fish_seen_subcommand_from {with_config}" -n "string match -q -- '-*' (commandline -ct)" \\
    -a "{keys}"
"""
_FISH_CASE = 'complete -c pocketeva -n "__fish_seen_subcommand_from {verb}" -a "{words}"'


def completion_script(
    shell: str, words: Mapping[str, Sequence[str]], with_config: Collection[str], keys: Sequence[str]
) -> str:
    """The script, for bash, for zsh through its ``bashcompinit``, or for fish; files are completed where no word fits.

    Args:
        words: by verb, what may stand after it.
        with_config: verbs that take the keys of a config.
        keys: such as ``--teacher.full.lr``.
    """
    script, case, between = (_FISH, _FISH_CASE, " ") if shell == "fish" else (_BASH, _BASH_CASE, "|")
    cases = "\n".join(case.format(verb=verb, words=" ".join(after)) for verb, after in words.items())
    return script.format(verbs=" ".join(words), cases=cases, with_config=between.join(with_config), keys=" ".join(keys))
