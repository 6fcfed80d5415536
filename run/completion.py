"""A script by which a shell completes verbs, their arguments and the keys of a config."""

from collections.abc import Collection, Mapping, Sequence

_SCRIPT = """# bash: pocketeva completion > ~/.local/share/bash-completion/completions/pocketeva
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

_FISH = """# fish: pocketeva completion fish > ~/.config/fish/completions/pocketeva.fish
complete -c pocketeva -n __fish_use_subcommand -f -a "{verbs} --help --version"
{cases}
complete -c pocketeva -n "__fish_seen_subcommand_from {with_config}" -n "string match -q -- '-*' (commandline -ct)" \\
    -a "{keys}"
"""


def completion_script(
    shell: str, words: Mapping[str, Sequence[str]], with_config: Collection[str], keys: Sequence[str]
) -> str:
    """The script, for bash, for zsh through its ``bashcompinit``, or for fish; files are completed where no word fits.

    Args:
        words: by verb, what may stand after it.
        with_config: verbs that take the keys of a config.
        keys: such as ``--teacher.full.lr``.
    """
    if shell == "fish":
        seen = "__fish_seen_subcommand_from"
        offered = "\n".join(
            f'complete -c pocketeva -n "{seen} {verb}" -a "{" ".join(after)}"' for verb, after in words.items()
        )
        return _FISH.format(
            verbs=" ".join(words), cases=offered, with_config=" ".join(with_config), keys=" ".join(keys)
        )
    cases = "\n".join(f'            {verb}) words="{" ".join(after)}" ;;' for verb, after in words.items())
    return _SCRIPT.format(verbs=" ".join(words), cases=cases, with_config="|".join(with_config), keys=" ".join(keys))
