# What changes the sources, or reads them.

##@ develop

lint:                          ## luacheck, layers, header vocabulary, warnings
	@scripts/lint

rockspec:                      ## write the rockspec's file lists anew
	@scripts/rockspec

.PHONY: lint rockspec
