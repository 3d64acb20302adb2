/* See args.h. The next argument after a flag is its value even when it begins with a dash, unless
 * it is a flag itself: "--seed -1" is a bad seed, "--prompt --steps" a forgotten prompt. */
#include "cmd/args.h"

#include <stdlib.h>
#include <string.h>

#include "app/show.h"

tt_status tt__args_read_environment(tt_settings *s, tt_err *err) {
    for (int i = 0; i < TT_OPTION_COUNT; i++) {
        const char *name = tt_option_get((tt_option_id)i)->environment;
        const char *value = name ? getenv(name) : NULL;
        if (!value || !value[0]) continue;
        TT_TRY(tt_settings_set_text(s, (tt_option_id)i, TT_FROM_ENVIRONMENT, name, value, err));
    }
    return TT_OK;
}

static size_t name_length(const char *argument) {
    return strcspn(argument, "=");
}

static bool is_flag(const char *argument) {
    tt_option_id id;
    const char *spelling;
    return tt_option_find_flag(argument, name_length(argument), &id, &spelling);
}

static void report_unknown(const char *argument, int commands, tt_problems *problems) {
    char name[TT_SHOWN_BYTES];
    tt_show_text(name, argument, name_length(argument));
    const char *nearest = tt_option_nearest_flag(name, commands);
    if (argument[0] != '-')
        tt_problems_add(problems,
                        commands & TT_FOR_RUN
                            ? "unexpected argument \"%s\"; a prompt is given as --prompt \"...\""
                            : "unexpected argument \"%s\"",
                        name);
    else if (nearest)
        tt_problems_add(problems, "unknown flag %s, did you mean %s?", name, nearest);
    else
        tt_problems_add(problems, "unknown flag %s; --help lists the known ones", name);
}

/* A flag that belongs to another command. */
static void report_foreign(tt_option_id id, const char *spelling, tt_problems *problems) {
    const tt_option *row = tt_option_get(id);
    if (row->field)
        tt_problems_add(problems,
                        "%s: not a flag of this command: each job brings its own \"%s\", and %s "
                        "is for those that do not",
                        spelling, row->field, row->environment);
    else
        tt_problems_add(problems, "%s: not a flag of this command but of tintype %s", spelling,
                        tt_option_is_for(id, TT_FOR_RUN)   ? "run"
                        : tt_option_is_for(id, TT_FOR_DEV) ? "dev"
                                                           : "serve");
}

/* Reads argv[*i], moving *i over a value that stands apart. */
static tt_status read_flag(tt_settings *s, int commands, int argc, char **argv, int *i,
                           tt_problems *problems, tt_err *err) {
    const char *argument = argv[*i], *spelling;
    size_t length = name_length(argument);
    tt_option_id id;
    if (!tt_option_find_flag(argument, length, &id, &spelling)) {
        report_unknown(argument, commands, problems);
        bool has_value = argument[0] == '-' && argument[length] == '\0' && *i + 1 < argc;
        if (has_value && argv[*i + 1][0] != '-')
            ++*i; /* most likely its value: not a fault of its own */
        return TT_OK;
    }
    const char *value = argument[length] == '=' ? argument + length + 1 : NULL;
    if (!value && tt_option_get(id)->type == TT_OPTION_SWITCH) value = "true";
    if (!value && *i + 1 < argc && !is_flag(argv[*i + 1])) value = argv[++*i];
    if (!tt_option_is_for(id, commands)) {
        report_foreign(id, spelling, problems);
        return TT_OK;
    }
    if (value) return tt_settings_set_text(s, id, TT_FROM_FLAG, spelling, value, err);
    tt_problems_add(problems, "%s: expected a value after it, as in %s \"%s\"", spelling, spelling,
                    tt_option_get(id)->example);
    return TT_OK;
}

tt_status tt__args_read(tt_settings *s, int commands, int argc, char **argv, tt__help_wish *help,
                        tt_problems *problems, tt_err *err) {
    *help = TT__HELP_NONE;
    for (int i = 0; i < argc; i++) {
        if (strcmp(argv[i], "--help") != 0 && strcmp(argv[i], "-h") != 0) {
            TT_TRY(read_flag(s, commands, argc, argv, &i, problems, err));
            continue;
        }
        bool is_all = i + 1 < argc && strcmp(argv[i + 1], "all") == 0;
        *help = is_all ? TT__HELP_ALL : TT__HELP_SHORT;
        i += is_all;
    }
    return TT_OK;
}
