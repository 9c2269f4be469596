/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The tree of an expression: parse.c makes it, eval.c walks it. */
#ifndef BOOTWELL_ALERT_PRIVATE_H
#define BOOTWELL_ALERT_PRIVATE_H

#include "daemon/alert/expr.h"

#define ALERT_ON_MAX 4

enum alert_node {
	NODE_NUMBER,
	NODE_TIME,
	NODE_SELECT,
	NODE_INCREASE, /* a: a selector with a window */
	NODE_CHANGES,
	NODE_PREDICT,  /* number: s from now */
	NODE_QUANTILE, /* number: 0 to 1 */
	NODE_SUM,      /* by `on` */
	NODE_BINARY
};

enum alert_op { OP_AND, OP_EQ, OP_NE, OP_GE, OP_LE, OP_GT, OP_LT, OP_ADD, OP_SUB, OP_MUL, OP_DIV, OPS };

struct alert_expr {
	enum alert_node node;
	enum alert_op op;
	double number, window; /* s; 0: of now */
	struct alert_selector selector;
	bool has_on;
	unsigned int on_n;
	char on[ALERT_ON_MAX][ALERT_NAME_MAX];
	struct alert_expr *a, *b;
};

#endif
