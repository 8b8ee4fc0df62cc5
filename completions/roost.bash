# SPDX-License-Identifier: MIT
# bash completion for roost. The words come from `roost ... --help` itself, so they are never older than the command.

_roost_help_words() # the command's words..., prints its long options
{
    command roost "$@" --help 2>/dev/null |
        sed -n -e 's/^ \{6\}\(--[a-z-]*\).*/\1/p' -e 's/^  -[A-Za-z][^,]*, \(--[a-z-]*\).*/\1/p' | sort -u
}

_roost_commands() # [family]
{
    command roost "$@" --help 2>/dev/null | sed -n '/^Commands:/,/^$/s/^  \([a-z-]*\)\( \([a-z-]*\)\)\{0,1\}  .*/\1 \3/p'
}

_roost_names() # family [arguments of its list...], prints what there is in the root that is found from here
{
    local family=$1
    shift
    command roost "$family" list "$@" 2>/dev/null | cut -f1
}

_roost()
{
    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]}
    local i word command= second= skip=
    for ((i = 1; i < COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        if [[ $skip ]]; then skip=; continue; fi
        case $word in
            -C | --root | --wait) skip=1 ;;
            -*) ;;
            *)
                if [[ ! $command ]]; then
                    command=$word
                    case $command in kv | stream | state | hook) ;; *) break ;; esac
                else
                    second=$word
                    break
                fi
                ;;
        esac
    done

    case $previous in
        -C | --root) COMPREPLY=($(compgen -d -- "$current")); return ;;
        -f | --file) COMPREPLY=($(compgen -f -- "$current")); return ;;
        --level) COMPREPLY=($(compgen -W "durable process" -- "$current")); return ;;
        --region) COMPREPLY=($(compgen -W "shm file" -- "$current")); return ;;
        --from) COMPREPLY=($(compgen -W "memory-server markdown memmap_fs" -- "$current")); return ;;
        --to) COMPREPLY=($(compgen -W "memory-server markdown" -- "$current")); return ;;
        --on-error) COMPREPLY=($(compgen -W "stop continue" -- "$current")); return ;;
        --state) COMPREPLY=($(compgen -W "$(_roost_names state)" -- "$current")); return ;;
        --stream) COMPREPLY=($(compgen -W "$(_roost_names stream)" -- "$current")); return ;;
        --language)
            COMPREPLY=($(compgen -W "none english german french spanish italian portuguese dutch swedish norwegian danish
                finnish russian" -- "$current"))
            return
            ;;
    esac

    if [[ ! $command ]]; then
        if [[ $current == -* ]]; then
            COMPREPLY=($(compgen -W "-C --root --json --wait --observe --help --version" -- "$current"))
        else
            COMPREPLY=($(compgen -W "$(_roost_commands | cut -d' ' -f1 | sort -u)" -- "$current"))
        fi
        return
    fi
    case $command in
        kv | stream | state)
            if [[ ! $second ]]; then
                COMPREPLY=($(compgen -W "$(_roost_commands "$command" | cut -d' ' -f2)" -- "$current"))
                return
            fi
            ;;
    esac
    if [[ $current == -* ]]; then
        COMPREPLY=($(compgen -W "$(_roost_help_words $command $second)" -- "$current"))
        return
    fi
    case "$command $second" in
        "kv get" | "kv set" | "kv delete" | "kv cas" | "kv list")
            COMPREPLY=($(compgen -W "$(_roost_names kv "$current" --limit 100)" -- "$current")) ;;
        "stream read" | "stream append" | "stream info" | "stream follow")
            COMPREPLY=($(compgen -W "$(_roost_names stream)" -- "$current")) ;;
        "state get" | "state set" | "state watch")
            COMPREPLY=($(compgen -W "$(_roost_names state)" -- "$current")) ;;
        "import " | "export ") COMPREPLY=($(compgen -f -- "$current")) ;;
        "backup " | "restore " | "rescue ") COMPREPLY=($(compgen -d -- "$current")) ;;
        "init ") COMPREPLY=($(compgen -d -- "$current")) ;;
        "help ") COMPREPLY=($(compgen -W "exit-codes $(_roost_commands | cut -d' ' -f1 | sort -u)" -- "$current")) ;;
    esac
}
complete -o filenames -F _roost roost
