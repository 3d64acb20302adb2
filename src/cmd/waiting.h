/* How the engine's threads wait for each other. */
#ifndef TT_CMD_WAITING_H
#define TT_CMD_WAITING_H

/* Starts the program once more, with OMP_WAIT_POLICY=passive in its environment, unless the user has chosen a
 * policy; returns when there is nothing to do or it cannot be done. Call it before anything else has been started. */
void tt__wait_passively(char **argv);

#endif
