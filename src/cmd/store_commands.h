/* The commands about models. Each returns the program's exit code; argv starts after the command's name. */
#ifndef TT_CMD_STORE_COMMANDS_H
#define TT_CMD_STORE_COMMANDS_H

#include <stdbool.h>

/* Fetch. */
int tt__pull(int argc, char **argv);
/* What is here, all and one. */
int tt__models(int argc, char **argv);
int tt__show(int argc, char **argv);
/* Take away, keep. */
int tt__rm(int argc, char **argv);
int tt__pin(int argc, char **argv);
int tt__unpin(int argc, char **argv);
/* Make room, look for damage. */
int tt__gc(int argc, char **argv);
int tt__verify(int argc, char **argv);
/* The names in one file, and back. */
int tt__backup(int argc, char **argv);
int tt__restore(int argc, char **argv);

int tt__pull_help(bool is_all);
int tt__models_help(bool is_all);
int tt__show_help(bool is_all);
int tt__rm_help(bool is_all);
int tt__pin_help(bool is_all);
int tt__gc_help(bool is_all);
int tt__verify_help(bool is_all);
int tt__backup_help(bool is_all);

#endif
