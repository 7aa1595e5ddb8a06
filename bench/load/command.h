/*
 * command.h: what `load` can do; each command is the file of its name.
 */
#ifndef COMMAND_H
#define COMMAND_H

extern void command_repeat(void);
extern void command_stream(void);
extern void command_listen(void);
extern void command_poll(void);
extern void command_until(void);
extern void command_idle(void);
extern void command_crowd(void);

#endif
